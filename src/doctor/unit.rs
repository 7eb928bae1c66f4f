//! The systemd unit: is it enabled, does it run, and does its sandbox allow everything that the
//! configuration needs?

use super::Findings;
use crate::settings::{KeySource, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

const UNIT: &str = "nightjar.service";
const PROPERTIES: &str = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,DynamicUser,User,\
                          ProtectSystem,ProtectHome,ReadWritePaths,StateDirectory,ExecPaths,\
                          NoExecPaths";

/// What systemd says about a unit, drop-ins included.
#[derive(Debug, Default)]
pub(super) struct Unit(BTreeMap<String, String>);

impl Unit {
    /// Reads what `systemctl show` prints. A property may come several times.
    fn parse(text: &str) -> Unit {
        let mut properties: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            let all = properties.entry(name.to_owned()).or_default();
            if !all.is_empty() && !value.is_empty() {
                all.push(' ');
            }
            all.push_str(value);
        }
        Unit(properties)
    }

    fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    fn words(&self, name: &str) -> impl Iterator<Item = &str> {
        self.get(name).split_whitespace()
    }

    /// The folders that the daemon may write although the system is protected.
    fn writable(&self) -> Vec<PathBuf> {
        let state = self.words("StateDirectory").map(|name| Path::new("/var/lib").join(name));
        let paths = self.words("ReadWritePaths").map(|path| path.trim_start_matches(['-', '+']));
        state.chain(paths.map(PathBuf::from)).collect()
    }

    fn credentials(&self) -> Vec<&str> {
        // NAME:PATH
        let names = |property| self.words(property).map(|it| it.split(':').next().unwrap_or(it));
        names("LoadCredential").chain(names("LoadCredentialEncrypted")).collect()
    }
}

pub(super) fn examine(settings: &Settings, found: &mut Findings) {
    match systemctl(&["show", UNIT, "--property", PROPERTIES]) {
        Some(shown) => {
            // systemd 252 shows no credentials; they stand in the unit's files.
            let files = systemctl(&["cat", UNIT]).unwrap_or_default();
            let credentials = files.lines().filter(|line| line.starts_with("LoadCredential"));
            let all: Vec<_> = shown.lines().chain(credentials).collect();
            check_unit(&Unit::parse(&all.join("\n")), settings, found);
        }
        // No running systemd: something else starts the program.
        None => found.ok("unit", "there is no running systemd"),
    }
}

fn systemctl(arguments: &[&str]) -> Option<String> {
    let output = Command::new("systemctl").arg("--no-pager").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reports the unit's problems with these settings.
fn check_unit(unit: &Unit, settings: &Settings, found: &mut Findings) {
    if unit.get("LoadState") != "loaded" {
        found.warn(
            "unit",
            format!("{UNIT} is not installed"),
            format!("install systemd/{UNIT} as the README shows, unless something else starts it"),
        );
        return;
    }
    let before = found.0.len();
    if unit.get("UnitFileState") != "enabled" {
        found.warn(
            "unit",
            format!("{UNIT} is {}: it does not start at boot", { unit.get("UnitFileState") }),
            "systemctl enable nightjar, unless nightjar-backup.timer is enabled",
        );
    }
    if unit.get("ActiveState") != "active" {
        found.warn(
            "unit",
            format!("{UNIT} is {}", unit.get("ActiveState")),
            "systemctl start nightjar, then `systemctl status nightjar`",
        );
    }
    if unit.get("NeedDaemonReload") == "yes" {
        found.warn("unit", "its file has changed", "systemctl daemon-reload");
    }
    sandbox(unit, settings, found);
    if found.0.len() == before {
        found.ok("unit", format!("{UNIT} is enabled, runs, and allows what is configured"));
    }
}

fn sandbox(unit: &Unit, settings: &Settings, found: &mut Findings) {
    let writable = unit.writable();
    let protected = matches!(unit.get("ProtectSystem"), "strict");
    let state = Some(("state_dir", &settings.state_dir));
    let archive = Some(("archive_dir", &settings.archive_dir))
        .filter(|(_, folder)| !folder.starts_with(&settings.state_dir));
    for (what, folder) in state.into_iter().chain(archive) {
        if protected && !writable.iter().any(|path| folder.starts_with(path)) {
            found.error(
                "unit",
                format!("its sandbox does not let the daemon write to {what} {}", folder.display()),
                format!(
                    "systemctl edit nightjar: [Service] ReadWritePaths={}; and give the folder to \
                     the unit's user",
                    folder.display()
                ),
            );
        }
        let home = ["/home", "/root", "/run/user"].iter().any(|home| folder.starts_with(home));
        if home && unit.get("ProtectHome") == "yes" {
            found.error(
                "unit",
                format!("its sandbox hides {what} {}, which is in a home", folder.display()),
                "choose a folder such as /srv/nightjar",
            );
        }
    }
    let credentials = unit.credentials();
    for account in settings.accounts.values() {
        match &account.key {
            KeySource::Credential(name) if !has_credential(name, &credentials) => found.error(
                "unit",
                format!("it loads no credential {name}, which account {} needs", account.name),
                format!(
                    "name it keys_{0} and put the key into /etc/nightjar/keys/{0}; or systemctl \
                     edit nightjar: [Service] LoadCredential={name}:FILE",
                    account.name
                ),
            ),
            KeySource::File(file) if unit.get("DynamicUser") == "yes" => found.warn(
                "unit",
                format!(
                    "its user is allocated at each start and probably cannot read the key file {} of \
                     account {}",
                    file.display(),
                    account.name
                ),
                format!(
                    "move it to /etc/nightjar/keys/{0} and let the account say credential = \
                     \"keys_{0}\"",
                    account.name
                ),
            ),
            _ => {}
        }
    }
    let allowed: Vec<_> =
        unit.words("ExecPaths").map(|path| path.trim_start_matches(['-', '+'])).collect();
    for program in settings.notify.commands.iter().filter_map(|words| words.first()) {
        let may_run = allowed.iter().any(|path| Path::new(program).starts_with(path));
        if !unit.get("NoExecPaths").is_empty() && !may_run {
            found.error(
                "unit",
                format!("its sandbox does not let the daemon run {program}"),
                format!("systemctl edit nightjar: [Service] ExecPaths={program}"),
            );
        }
    }
}

/// Whether a unit with these credentials has one of this name: of a folder it has each file as
/// FOLDER_FILE.
fn has_credential(name: &str, credentials: &[&str]) -> bool {
    credentials.iter().any(|known| {
        let rest = name.strip_prefix(known);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;
    use crate::config::{Environment, parse};

    const SHOWN: &str = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n\
        NeedDaemonReload=no\nDynamicUser=yes\nProtectSystem=strict\nProtectHome=yes\n\
        ReadWritePaths=/srv/archive\nStateDirectory=nightjar\n\
        LoadCredential=contoso:/etc/nightjar/contoso.key\nNoExecPaths=/\n\
        ExecPaths=/usr/bin/nightjar -/usr/bin/kill /usr/lib\n";

    fn errors(shown: &str, config: &str) -> Vec<String> {
        let env = Environment::default();
        let settings = parse(config, Path::new("/etc/nightjar/config.toml"), &env).unwrap();
        let mut found = Findings::default();
        check_unit(&Unit::parse(shown), &settings, &mut found);
        let troubles = found.0.into_iter().filter(|finding| finding.level != Level::Ok);
        troubles.map(|finding| format!("{} -> {}", finding.message, finding.fix.unwrap())).collect()
    }

    #[test]
    fn a_unit_that_fits_its_configuration_is_well() {
        let config = "archive_dir = \"/srv/archive/nightjar\"\n\
                      [accounts.contoso]\ncredential = \"contoso\"\n";
        assert_eq!(errors(SHOWN, config), Vec::<String>::new());
    }

    #[test]
    fn what_the_sandbox_keeps_from_the_daemon_is_named_with_the_line_to_add() {
        let config = "state_dir = \"/home/archive\"\n[accounts.a]\ncredential = \"a\"\n\
                      [accounts.b]\nkey_file = \"/etc/nightjar/b.key\"\n\
                      [[notify.commands]]\nrun = [\"/usr/local/bin/tell\"]\n";
        insta::assert_snapshot!(errors(SHOWN, config).join("\n"), @r#"
        its sandbox does not let the daemon write to state_dir /home/archive -> systemctl edit nightjar: [Service] ReadWritePaths=/home/archive; and give the folder to the unit's user
        its sandbox hides state_dir /home/archive, which is in a home -> choose a folder such as /srv/nightjar
        it loads no credential a, which account a needs -> name it keys_a and put the key into /etc/nightjar/keys/a; or systemctl edit nightjar: [Service] LoadCredential=a:FILE
        its user is allocated at each start and probably cannot read the key file /etc/nightjar/b.key of account b -> move it to /etc/nightjar/keys/b and let the account say credential = "keys_b"
        its sandbox does not let the daemon run /usr/local/bin/tell -> systemctl edit nightjar: [Service] ExecPaths=/usr/local/bin/tell
        "#);
    }

    #[test]
    fn a_unit_that_is_not_there_or_does_not_run_has_its_own_finding() {
        assert!(errors("LoadState=not-found\n", "")[0].contains("is not installed"));
        let stopped = SHOWN.replace("=active", "=failed").replace("=enabled", "=disabled");
        let troubles = errors(&stopped, "");
        assert_eq!(troubles.len(), 2, "{troubles:?}");
        assert!(troubles[0].contains("disabled") && troubles[1].contains("failed"));
    }
}
