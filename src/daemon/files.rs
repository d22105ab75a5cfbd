//! How the daemon reads files: whole, and none that is larger than memory has room for.

use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use weir::config::{Settings, file};

/// Reads the configuration file.
pub fn read_config(path: &Path) -> io::Result<Vec<u8>> {
    read(File::open(path)?, file::FILE_BYTES_MAX as u64, "")
}

/// Reads the configuration file again.
pub fn read_config_again(path: &Path) -> io::Result<Vec<u8>> {
    read(open_again(path)?, file::FILE_BYTES_MAX as u64, "")
}

/// Reads the files that the settings name.
pub fn reader(settings: &Settings) -> impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + use<> {
    let (bytes_max, why) = limit(settings);
    move |path: &Path| read(File::open(path)?, bytes_max, why)
}

/// Reads files again that were read at the start.
pub fn reader_again(settings: &Settings) -> impl Fn(&Path) -> io::Result<Vec<u8>> + Send + Sync + use<> {
    let (bytes_max, why) = limit(settings);
    move |path: &Path| read(open_again(path)?, bytes_max, why)
}

/// Most bytes of a file, and the reason, if there is another than that no file is so long.
fn limit(settings: &Settings) -> (u64, &'static str) {
    let why = if settings.memory_bytes > 0 { ", for which --memory has room" } else { "" };
    (settings.file_bytes_max(), why)
}

/// Opens a file that was read at the start. A pipe would be empty now, and its rules lost, so it is an error; it is never waited for.
fn open_again(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)?;
    match file.metadata()?.file_type().is_fifo() {
        true => Err(io::Error::other("it is a pipe, which can be read once")),
        false => Ok(file),
    }
}

/// Reads a file whole. One that has more bytes than the limit is not read.
fn read(file: File, bytes_max: u64, why: &str) -> io::Result<Vec<u8>> {
    let too_large =
        || io::Error::new(ErrorKind::FileTooLarge, format!("expected at most {bytes_max} bytes{why}"));
    let length = file.metadata()?.len();
    if length > bytes_max {
        return Err(too_large());
    }
    let mut content = Vec::with_capacity(usize::try_from(length).map_or(0, |length| length + 1));
    // What is no file, or grows, has no known length.
    file.take(bytes_max + 1).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max { Err(too_large()) } else { Ok(content) }
}
