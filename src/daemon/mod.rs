//! What `main` needs beside the library: telling the service manager, reading the configuration again, and following the
//! addresses of the machine.

pub mod addresses;
pub mod check;
pub mod manager;
pub mod pid_file;
pub mod reload;
