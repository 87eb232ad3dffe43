//! The `weir` binary: hands the command line to the library and its result to the shell.

use std::process::ExitCode;

fn main() -> ExitCode {
    weir::cli::main()
}
