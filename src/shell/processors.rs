//! The processors that a thread may run on.

#[cfg(target_os = "linux")]
pub use linux::{Processors, allow, allowed, pin};
#[cfg(not(target_os = "linux"))]
pub use other::{Processors, allow, allowed, pin};

#[cfg(target_os = "linux")]
mod linux {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    use std::io;

    /// A set of processors.
    pub type Processors = CpuSet;

    /// The processors of this thread.
    pub fn allowed() -> io::Result<Processors> {
        Ok(sched_getaffinity(None)?)
    }

    /// Lets this thread run on all of these processors. If the system refuses, nothing changes.
    pub fn allow(processors: &Processors) {
        if let Err(error) = sched_setaffinity(None, processors) {
            log::warn!("cannot choose processors: {error}");
        }
    }

    /// Keeps this thread on one of the processors; threads are distributed by their index.
    pub fn pin(processors: &Processors, index: usize) {
        let all: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| processors.is_set(*cpu)).collect();
        let Some(cpu) = all.get(index % all.len().max(1)) else { return };
        let mut one = CpuSet::new();
        one.set(*cpu);
        allow(&one);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn threads_are_dealt_out_in_turn() {
            let all = allowed().unwrap();
            let count = all.count() as usize;
            for index in 0..count + 1 {
                let pinned = std::thread::spawn(move || {
                    pin(&all, index);
                    let one = allowed().unwrap();
                    allow(&all);
                    (one, allowed().unwrap())
                });
                let (one, again) = pinned.join().unwrap();
                assert_eq!((one.count(), again.count() as usize), (1, count));
                let place =
                    (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).position(|cpu| one.is_set(cpu));
                assert_eq!(place, Some(index % count));
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::io;

    /// Nothing is known of them.
    pub type Processors = ();

    /// Nothing is known of them here.
    pub fn allowed() -> io::Result<Processors> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Threads run where the system puts them.
    pub fn allow(_processors: &Processors) {}

    /// Threads run where the system puts them.
    pub fn pin(_processors: &Processors, _index: usize) {}
}
