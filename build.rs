//! Asks the linker for a smaller program, for the smallest build alone: one that is optimised for size (`opt-level = "z"`), as the
//! profile `firmware` is. Which arguments are passed is not guessed: a program of one line is linked with each, by the compiler, the
//! target and the flags of this build, and those stay that work. Outside of Linux, and where no linker knows them, nothing is passed.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Nothing reads unwinding tables where a panic aborts. A script is needed: the standard library comes with its tables. The ends of
/// the tables stay, since the C compiler's first and last objects refer to them.
const WITHOUT_TABLES: &str = "SECTIONS { /DISCARD/ : {
    *(EXCLUDE_FILE(*crtbegin*.o *crtend*.o) .eh_frame .gcc_except_table .gcc_except_table.*)
} } INSERT AFTER .text;
";

/// A program that any linker can make.
const PLAIN: &str = "fn main() {}\n";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(without_unwinding_tables)");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("OPT_LEVEL", "z") || !is("CARGO_CFG_TARGET_OS", "linux") {
        return;
    }
    let directory = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let mut linking = Linking { directory, arguments: Vec::new() };
    // The linker that comes with the compiler, which is not the default one for all targets, knows most of what follows.
    if let Some(linkers) = own_linkers() {
        linking.offer(&[format!("-B{}", linkers.display()), "-fuse-ld=lld".to_owned()]);
    }
    let script = linking.directory.join("without-tables.ld");
    if std::fs::write(&script, WITHOUT_TABLES).is_ok() {
        let arguments = ["-Wl,--no-eh-frame-hdr".to_owned(), format!("-Wl,-T,{}", script.display())];
        if linking.offer(&arguments) {
            println!("cargo:rustc-cfg=without_unwinding_tables");
        }
    }
    // Functions that are the same become one. No function of weir's is told from others by its address.
    linking.offer(&["-Wl,--icf=all".to_owned()]);
    // The end of one text serves as another.
    linking.offer(&["-Wl,-O2".to_owned()]);
    // A bit for a word to relocate instead of 24 bytes. glibc reads these bits since 2.36, and musl since 1.2.4, which is newer than the
    // one that comes with older compilers: so a program with them has to run here.
    let arguments = ["-Wl,-z,pack-relative-relocs".to_owned()];
    if linking.links(&arguments) && linking.runs() {
        linking.pass_on(&arguments);
    }
}

/// The folder of the linkers that come with the compiler, under the names that a C compiler looks for.
fn own_linkers() -> Option<PathBuf> {
    let compiler = env::var_os("RUSTC")?;
    let printed = Command::new(compiler).args(["--print", "sysroot"]).output().ok()?;
    let root = PathBuf::from(String::from_utf8(printed.stdout).ok()?.trim_end());
    let folder = root.join("lib/rustlib").join(env::var_os("HOST")?).join("bin/gcc-ld");
    folder.is_dir().then_some(folder)
}

/// The arguments for the linker so far.
struct Linking {
    /// Where programs are tried.
    directory: PathBuf,
    arguments: Vec<String>,
}

impl Linking {
    /// Passes arguments on to the linker, if it can make a program with them. Tells whether it can.
    fn offer(&mut self, arguments: &[String]) -> bool {
        let works = self.links(arguments);
        if works {
            self.pass_on(arguments);
        }
        works
    }

    fn pass_on(&mut self, arguments: &[String]) {
        for argument in arguments {
            println!("cargo:rustc-link-arg-bins={argument}");
        }
        self.arguments.extend_from_slice(arguments);
    }

    /// Whether the program that was linked last starts and ends well. There are linkers that pack relocations and do not say so as
    /// glibc asks for, so that glibc refuses the program.
    fn runs(&self) -> bool {
        let mut program = Command::new(self.directory.join("probe"));
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        program.status().is_ok_and(|status| status.success())
    }

    /// Whether a program can be linked with these arguments, too.
    fn links(&self, more: &[String]) -> bool {
        link(&self.directory, self.arguments.iter().chain(more)).unwrap_or(false)
    }
}

/// Links a program with these arguments. Tells whether that works.
fn link<'a>(directory: &Path, arguments: impl Iterator<Item = &'a String>) -> std::io::Result<bool> {
    let source = directory.join("probe.rs");
    std::fs::write(&source, PLAIN)?;
    let mut compiler = Command::new(env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc")));
    compiler.args(["--edition", "2024", "--crate-name", "probe", "-C", "panic=abort"]).arg(&source);
    compiler.arg("-o").arg(directory.join("probe"));
    compiler.arg("--target").arg(env::var_os("TARGET").unwrap_or_default());
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        compiler.arg("-C").arg([OsString::from("linker="), linker].into_iter().collect::<OsString>());
    }
    let flags = env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    compiler.args(flags.split('\u{1f}').filter(|flag| !flag.is_empty()));
    for argument in arguments {
        compiler.arg("-C").arg(format!("link-arg={argument}"));
    }
    compiler.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(compiler.status()?.success())
}
