//! The daemon: a proxy with options, files, signals and rights to give up.

mod daemon;

use daemon::{Launch, commands, start};
use log::LevelFilter;
use std::io::Write;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};
use weir::config::{Command, Problems, Settings};
use weir::log::diagnostics::Diagnostics;
use weir::log::format::timestamp;

#[cfg(all(without_unwinding_tables, panic = "unwind"))]
compile_error!(
    "a build with opt-level \"z\" has no unwinding tables (build.rs), so it needs panic = \"abort\""
);

fn main() -> ExitCode {
    let mut launch = Launch::of_this_process();
    let (settings, problems) = launch.load();
    start_log(&settings);
    if !problems.is_empty() {
        return ExitCode::from(commands::tell_all(&settings, problems));
    }
    let code = match &settings.command {
        Command::Run => match start(settings, launch) {
            Ok((daemon, signals)) => daemon.serve(signals),
            Err(code) => code,
        },
        Command::Check => daemon::check::run(&settings, Problems::new()),
        Command::Explain { .. } => commands::explain(&settings),
        Command::Detect { .. } => commands::detect(&settings),
        Command::Reload => commands::ask_to_reload(&settings),
        Command::Ctl { words, json } => daemon::control::ctl(&settings, words, *json),
        Command::PrintConfig => commands::print_config(&settings),
        Command::Help => commands::help(),
        Command::HelpOn(topics) => commands::help_on(topics),
        Command::Version => commands::version(),
    };
    ExitCode::from(code)
}

fn start_log(settings: &Settings) {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Warn)
        // A reload may raise the level.
        .filter_module("weir", LevelFilter::Trace)
        .format(|out, record| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            out.write_all(&timestamp(now.as_micros() as u64))?;
            writeln!(out, " weir {}: {}", record.level().as_str().to_ascii_lowercase(), record.args())
        })
        .target(env_logger::Target::Pipe(Box::new(Diagnostics)))
        .init();
    log::set_max_level(settings.level());
}
