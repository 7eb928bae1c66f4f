//! Writes the manual page of each command and the completions of bash, zsh and fish, for packages.
//! `cargo run --example manual -- FOLDER`

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let folder = PathBuf::from(std::env::args_os().nth(1).unwrap_or("target/assets".into()));
    fs::create_dir_all(&folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut nightjar::cli::command(), "nightjar", &folder)?;
    }
    let mut command = nightjar::cli::command().disable_help_subcommand(true);
    command.build();
    let commands: Vec<Command> = command.get_subcommands().cloned().collect();
    let names: Vec<String> = commands.iter().map(|it| page_name(it).to_owned()).collect();
    for one in commands {
        page(one, &["nightjar".to_owned()], &folder)?;
    }
    page(command, &names, &folder)
}

fn page_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// One page: the text from clap, then the sections that all commands share.
fn page(command: Command, see_also: &[String], folder: &Path) -> io::Result<()> {
    let is_whole = command.has_subcommands();
    let name = page_name(&command).to_owned();
    let man = Man::new(command)
        .source(concat!("Nightjar ", env!("CARGO_PKG_VERSION")))
        .manual("Nightjar");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if is_whole {
        man.render_subcommands_section(&mut page)?;
    }
    common(is_whole, see_also).to_writer(&mut page)?;
    fs::write(folder.join(format!("{name}.1")), page)
}

fn common(is_whole: bool, see_also: &[String]) -> Roff {
    let mut roff = Roff::new();
    let mut list = |heading: &str, items: &[(Inline, &str)]| {
        roff.control("SH", [heading]);
        for (item, meaning) in items {
            roff.control("TP", []);
            roff.text([item.clone()]).text([roman(*meaning)]);
        }
    };
    list("EXIT STATUS", &nightjar::cli::EXIT_CODES.map(|(code, it)| (bold(code.to_string()), it)));
    list("FILES", &FILES.map(|(file, it)| (italic(file), it)));
    if is_whole {
        list("ENVIRONMENT", &ENVIRONMENT.map(|(variable, it)| (bold(variable), it)));
    }
    roff.control("SH", ["SEE ALSO"]);
    let mut text = Vec::new();
    for (number, name) in see_also.iter().enumerate() {
        text.extend([roman(if number == 0 { "" } else { ", " }), bold(name), roman("(1)")]);
    }
    roff.text(text);
    roff
}

const FILES: [(&str, &str); 3] = [
    ("/etc/nightjar/config.toml", "The configuration, unless another is named."),
    ("/etc/nightjar/keys/", "The accounts' keys, one a file, which systemd passes to the service."),
    ("/var/lib/nightjar/", "The database, and in archive/ the snapshots, unless named otherwise."),
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("NIGHTJAR_CONFIG", "The configuration file, where --config names none."),
    ("RUST_LOG", "What is logged, such as debug or nightjar=debug,warn."),
    ("HTTPS_PROXY, NO_PROXY", "The proxy to the service, and which hosts need none."),
    (
        "CREDENTIALS_DIRECTORY",
        "The folder of the keys that an account names as its credential; systemd sets it.",
    ),
];
