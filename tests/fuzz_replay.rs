//! The fuzz targets on any toolchain: every file of the corpus, then mutations for some seconds.
//!
//! A test run makes a fixed number of mutations from a fixed seed, the same on every machine. `FUZZ_SECONDS` mutates
//! each target for that long instead, `FUZZ_SEED` sets the seed. An input that makes a target fail is printed, and
//! kept in a file.

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use targets::{ALL, Target};

/// Mutated inputs unless time is given (chosen: a few seconds for most targets in a build without optimisation).
const EXECUTIONS: u64 = 4_000;

/// Longest mutated input (chosen: as libFuzzer does).
const BYTES_MAX: usize = 4096;

/// Bytes that mean something to one of the grammars.
const MARKS: &[u8] = b"\r\n\t :;,=\"\\@#/?[]%*|+.-_0159aAfFxXzZ~\0\x01\x1b\x7f\x80\xc0\xe2\xff";

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The corpus of a target, in a fixed order.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let entries = std::fs::read_dir(fuzz_folder().join("corpus").join(name)).into_iter().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a folder's entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a corpus file")).collect()
}

/// xorshift64*
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit.max(1)
    }

    fn part<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let start = self.below(bytes.len() + 1);
        let most = if self.below(4) == 0 { bytes.len() } else { 16 };
        &bytes[start..(start + self.below(most + 1)).min(bytes.len())]
    }
}

/// One to four changes: marks, any bytes, single bits, cuts, repetitions, and parts of other inputs.
fn mutate(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len() + 1);
        let end = (at + numbers.below(8)).min(bytes.len());
        match numbers.below(8) {
            0 => bytes.insert(at, MARKS[numbers.below(MARKS.len())]),
            1 if at < bytes.len() => bytes[at] = MARKS[numbers.below(MARKS.len())],
            2 if at < bytes.len() => bytes[at] = numbers.below(256) as u8,
            3 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            4 => drop(bytes.drain(at..end)),
            5 => {
                let part = numbers.part(bytes).to_vec();
                bytes.splice(at..at, part);
            }
            6 => drop(bytes.splice(at..end, numbers.part(other).iter().copied())),
            _ => drop(bytes.splice(at..at, numbers.part(other).iter().copied())),
        }
    }
    bytes.truncate(BYTES_MAX);
}

/// Runs the target; if it fails, says with what.
fn execute(name: &str, target: Target, bytes: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    let Err(panic) = outcome else { return };
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    let kept = std::fs::write(&path, bytes).map(|()| path.display().to_string());
    println!("{name} fails with b\"{}\" (kept in {kept:?})", bytes.escape_ascii());
    resume_unwind(panic);
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[track_caller]
fn replay_and_mutate(name: &str) {
    let (_, target) = ALL.iter().find(|(known, _)| *known == name).expect("a target of that name");
    let corpus = corpus(name);
    assert!(!corpus.is_empty(), "{name} has no corpus");
    corpus.iter().for_each(|bytes| execute(name, *target, bytes));
    execute(name, *target, b"");
    let until = variable("FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut numbers = Numbers(variable("FUZZ_SEED").unwrap_or(0).wrapping_add(0x9E37_79B9_7F4A_7C15).max(1));
    let mut executions = 0;
    while until.map_or(executions < EXECUTIONS, |until| Instant::now() < until) {
        let mut bytes = corpus[numbers.below(corpus.len())].clone();
        let other = &corpus[numbers.below(corpus.len())];
        // Several times over, to get away from the corpus.
        for _ in 0..=numbers.below(3) {
            mutate(&mut bytes, other, &mut numbers);
        }
        execute(name, *target, &bytes);
        executions += 1;
    }
    println!("{name}: {} files, {executions} mutations", corpus.len());
}

/// One test for each target, so that they run side by side and fail by name.
macro_rules! replayed {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay_and_mutate(stringify!($name));
            }
        )*

        /// Every target has a test here, a corpus, and a program for libFuzzer.
        #[test]
        fn every_target_is_complete() {
            assert_eq!(ALL.map(|(name, _)| name), [$(stringify!($name)),*]);
            let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).expect("a manifest");
            for (name, _) in ALL {
                assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"bin/{name}.rs\"")), "{name}");
                let program = std::fs::read_to_string(fuzz_folder().join(format!("bin/{name}.rs")));
                assert!(program.expect("a program").contains(&format!("::{name}(bytes)")), "{name}");
            }
            let folders = std::fs::read_dir(fuzz_folder().join("corpus")).expect("the corpus");
            assert_eq!(folders.count(), ALL.len());
        }
    };
}

replayed! {
    ban_file body_parts cache_control cache_exchange cache_file chunked cloud_ranges command_line configuration dates dns edits field_lists guard_file
    http_date_text log_entry proxy_header range reply request_framing request_head request_stream response_head response_stream rule_file system_files
    target user_file
}
