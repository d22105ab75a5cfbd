//! What `main` needs beside the library: telling the service manager, and reading the configuration again.

pub mod manager;
pub mod pid_file;
pub mod reload;
