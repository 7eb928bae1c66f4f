//! The text of one element, gathered from its pieces.

/// A text as written, and with line ends as XML says where that differs.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    written: String,
    /// Of use only where it differs.
    normal: String,
    differs: bool,
}

impl Gathered {
    pub(super) fn clear(&mut self) {
        self.written.clear();
        self.differs = false;
    }

    /// Adds character data, or what a CDATA section holds.
    #[inline]
    pub(super) fn push(&mut self, piece: &str) {
        if self.differs || memchr::memchr(b'\r', piece.as_bytes()).is_some() {
            self.push_normal(piece);
        }
        self.written.push_str(piece);
    }

    /// Adds what a reference stands for, which is exact.
    pub(super) fn push_char(&mut self, c: char) {
        self.written.push(c);
        if self.differs {
            self.normal.push(c);
        }
    }

    /// A carriage return, alone or before a line feed, is a line feed ("End-of-Line Handling" in
    /// XML 1.0).
    #[cold]
    fn push_normal(&mut self, piece: &str) {
        if !self.differs {
            self.differs = true;
            self.normal.clone_from(&self.written);
        }
        let mut lines = piece.split('\r');
        self.normal.push_str(lines.next().unwrap_or_default());
        for line in lines {
            self.normal.push('\n');
            self.normal.push_str(line.strip_prefix('\n').unwrap_or(line));
        }
    }

    /// As written, references resolved.
    pub(super) fn written(&self) -> &str {
        &self.written
    }

    /// Exactly what XML says it is.
    pub(super) fn text(&self) -> &str {
        if self.differs { &self.normal } else { &self.written }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_are_line_feeds_unless_they_are_references() {
        let mut text = Gathered::default();
        for _ in 0..2 {
            text.clear();
            text.push("a\nb");
            assert_eq!((text.written(), text.text()), ("a\nb", "a\nb"));
            text.push_char('\r');
            text.push("\r\n\r\rc\r");
            text.push_char('\r');
            text.push("\nd");
            assert_eq!(text.written(), "a\nb\r\r\n\r\rc\r\r\nd");
            assert_eq!(text.text(), "a\nb\r\n\n\nc\n\r\nd");
        }
    }
}
