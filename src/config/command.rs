//! The commands of the command line.

use crate::guard::detection::Context;
use std::net::IpAddr;

/// The command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Run the proxy.
    #[default]
    Run,
    /// Check everything and exit.
    Check,
    /// Print the settings and exit.
    PrintConfig,
    /// Ask the running daemon to reload its configuration, and exit with the result.
    Reload,
    /// Have the running daemon carry out a command, and exit with its exit code.
    Ctl {
        /// The command and the words behind it.
        words: Vec<String>,
        /// Answer in JSON.
        json: bool,
    },
    /// Print the findings of detection in a text, and exit.
    Detect {
        /// The place of the text in a request.
        context: Context,
        /// The text; `None` for the text of standard input.
        text: Option<String>,
    },
    /// Print the help and exit.
    Help,
    /// Print these topics and exit; without any, the list of topics.
    HelpOn(Vec<String>),
    /// Print the version and exit.
    Version,
    /// Print the verdict on one request and exit.
    Explain {
        /// The user of the request.
        user: Option<String>,
        /// The address of the client.
        client: Option<IpAddr>,
        /// The method; by default the method that a client would use.
        method: Option<String>,
        /// A URL, or `host:port`, as given.
        target: String,
    },
}

/// The command that the words behind `detect` mean.
pub(super) fn detect_command(words: &[String], context: Option<Context>) -> Result<Command, String> {
    match words {
        [text] => {
            let text = Some(text.clone()).filter(|text| text != "-");
            Ok(Command::Detect { context: context.unwrap_or(Context::Query), text })
        }
        _ => Err("detect: expected one text, in quotes if it has blanks, or - for standard input".to_owned()),
    }
}
