//! Why a document that could be read is not archived.

use super::ErrorKind;

/// The problem with the number of entities; `None` where it is the announced one, or none was
/// announced.
pub fn wrong_number(arrived: u64, announced: Option<u64>) -> Option<String> {
    let announced = announced.filter(|announced| *announced != arrived)?;
    Some(format!("{arrived} entities arrived, {announced} were announced"))
}

/// Why a document that could be read is not archived: it is incomplete, or something in it is not
/// proven (`warning`) and another remote job may bring it.
pub fn refusal(
    arrived: u64,
    announced: Option<u64>,
    warning: Option<String>,
    is_last_attempt: bool,
) -> Option<(ErrorKind, String)> {
    if let Some(message) = wrong_number(arrived, announced) {
        return Some((ErrorKind::Incomplete, message));
    }
    let warning = warning.filter(|_| !is_last_attempt)?;
    Some((ErrorKind::Corrupt, warning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_document_is_refused_always_and_an_unproven_one_until_the_last_attempt() {
        let (incomplete, corrupt) = (Some(ErrorKind::Incomplete), Some(ErrorKind::Corrupt));
        for (announced, warning, is_last, kind) in [
            (None, None, false, None),
            (Some(20), None, false, None),
            (Some(21), None, false, incomplete),
            (Some(19), None, true, incomplete),
            (Some(0), None, true, incomplete),
            (None, Some("a key twice"), false, corrupt),
            (Some(20), Some("a key twice"), false, corrupt),
            (Some(20), Some("a key twice"), true, None),
            (Some(21), Some("a key twice"), true, incomplete),
        ] {
            let found = refusal(20, announced, warning.map(str::to_owned), is_last);
            assert_eq!(found.as_ref().map(|it| it.0), kind, "{announced:?} {warning:?} {is_last}");
            if kind == corrupt {
                assert_eq!(found.unwrap().1, "a key twice");
            }
        }
        let message = wrong_number(20, Some(21)).unwrap();
        assert_eq!(message, "20 entities arrived, 21 were announced");
    }
}
