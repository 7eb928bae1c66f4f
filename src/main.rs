//! The executable: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    nightjar::cli::main()
}
