//! `fapi-gateway completions` and `fapi-gateway man`: what a shell and a system's manual know of the commands.

use std::process::ExitCode;

use clap::Command;
use clap_complete::Shell;

use super::{BAD_USAGE, Failure, INPUT_OUTPUT, printed};

/// Prints the completions of the program for a shell.
pub fn completions(mut program: Command, shell: Shell) -> ExitCode {
    let name = program.get_name().to_owned();
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut program, name, &mut text);
    printed(&String::from_utf8_lossy(&text), "completions")
}

/// Prints the manual page of the program, or of one of its commands.
pub fn man(mut program: Command, command: &[String]) -> ExitCode {
    program.build();
    let page = command.iter().try_fold(&program, |at, name| at.find_subcommand(name)).cloned();
    let Some(page) = page else {
        let name = command.join(" ");
        return Failure::new(BAD_USAGE, format!("{name:?} is not a command; `fapi-gateway --help` lists them"))
            .report("man");
    };
    let mut text = Vec::new();
    let title = page.get_display_name().unwrap_or(page.get_name()).to_owned();
    match clap_mangen::Man::new(page).title(title).render(&mut text) {
        Ok(()) => printed(&String::from_utf8_lossy(&text), "man"),
        Err(error) => Failure::new(INPUT_OUTPUT, error.to_string()).report("man"),
    }
}
