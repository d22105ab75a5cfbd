//! The system calls that can be made, by seccomp filters (Linux 3.17).
//!
//! The list has what the running daemon, the standard library and the C library need; all other calls fail with
//! EPERM, which these handle. Calls that are allowed with any arguments cost almost nothing: the kernel caches them
//! in a bitmap (since 5.11) and does not run the filter. So the calls of the hot path have no conditions, and those
//! with conditions (the family of a socket, the protection of memory) are rare.

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};
use std::collections::BTreeMap;
use std::io;

/// A filter is for one architecture. Others have calls of other names, and this module is not compiled for them.
const ARCHITECTURE: TargetArch =
    if cfg!(target_arch = "x86_64") { TargetArch::x86_64 } else { TargetArch::aarch64 };

/// Allowed with any arguments.
const ALLOWED: &[c_long] = &[
    // Connections.
    libc::SYS_accept4,
    libc::SYS_bind, // name servers are asked from a fresh port each time; TCP ports are Landlock's
    libc::SYS_connect,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendmmsg, // by the C library, which asks for both families of a name at once
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    // Bytes through descriptors that are open.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_fcntl,
    libc::SYS_lseek,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_write,
    libc::SYS_writev,
    // Waiting.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_futex,
    libc::SYS_ppoll,
    libc::SYS_restart_syscall, // after SIGSTOP and SIGCONT
    // Rule files, and the log with its rotation. Landlock restricts the files.
    libc::SYS_faccessat,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads: start (clone is below), end, and queries about themselves.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_sysinfo, // how much memory the machine has, asked by the C library
    libc::SYS_uname,
    // Signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Time and randomness.
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrandom,
    libc::SYS_gettimeofday,
    libc::SYS_nanosleep,
    // See `no_clone3`.
    libc::SYS_clone3,
];

/// Older calls that some C libraries use.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OLD: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];

/// The older calls; this architecture has none.
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OLD: &[c_long] = &[];

/// Allowed `ioctl` requests: non-blocking and close-on-exec by the standard library, the check for a terminal, the bytes in a send
/// buffer that have not left, and the index of a network interface (linux/sockios.h: SIOCOUTQNSD, SIOCGIFINDEX).
const REQUESTS: [u32; 6] =
    [libc::FIONBIO as u32, libc::FIOCLEX as u32, libc::FIONREAD as u32, libc::TCGETS as u32, 0x894B, 0x8933];

/// The bits of the socket type, beside flags (include/linux/net.h: SOCK_TYPE_MASK).
const SOCKET_KINDS: u64 = 0xf;

/// Restricts this thread. False if the kernel has no seccomp filters.
pub fn enforce() -> io::Result<bool> {
    let filters = [no_clone3(ARCHITECTURE), allowed(ARCHITECTURE)];
    for filter in filters {
        match apply_filter(&filter.map_err(io::Error::other)?) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
                if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) =>
            {
                return Ok(false);
            }
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(true)
}

/// A filter cannot follow the pointer argument of clone3, so clone3 returns ENOSYS, and C libraries use clone. Of
/// several filters the strictest result counts.
fn no_clone3(architecture: TargetArch) -> Result<BpfProgram, BackendError> {
    let calls = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let refused = SeccompAction::Errno(libc::ENOSYS as u32);
    SeccompFilter::new(calls, SeccompAction::Allow, refused, architecture)?.try_into()
}

fn allowed(architecture: TargetArch) -> Result<BpfProgram, BackendError> {
    let free = ALLOWED.iter().chain(ALLOWED_OLD).map(|call| (*call, Vec::new()));
    let mut calls: BTreeMap<c_long, Vec<SeccompRule>> = free.collect();
    calls.extend(conditional()?);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    SeccompFilter::new(calls, refused, SeccompAction::Allow, architecture)?.try_into()
}

/// Calls that are allowed if one of their rules matches.
fn conditional() -> Result<[(c_long, Vec<SeccompRule>); 9], BackendError> {
    let clear = |argument, bits: i32| rule(argument, SeccompCmpOp::MaskedEq(bits as u64), 0);
    let is = |argument, value: u64| rule(argument, SeccompCmpOp::Eq, value);
    let of_thread = libc::CLONE_THREAD as u64;
    let own_id = u64::from(std::process::id());
    Ok([
        (libc::SYS_socket, sockets()?),
        // Written memory cannot become executable.
        (libc::SYS_mmap, vec![clear(2, libc::PROT_EXEC)?]),
        (libc::SYS_mprotect, vec![clear(2, libc::PROT_EXEC)?]),
        // New threads are allowed, new processes are not.
        (libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(of_thread), of_thread)?]),
        (
            libc::SYS_ioctl,
            REQUESTS.iter().map(|request| is(1, u64::from(*request))).collect::<Result<_, _>>()?,
        ),
        // The name of a thread.
        (libc::SYS_prctl, vec![is(0, libc::PR_SET_NAME as u64)?]),
        // Limits can be read, not set: the pointer to a new one is null.
        (libc::SYS_prlimit64, vec![whole(2, SeccompCmpOp::Eq, 0)?]),
        // A thread may choose its own processors only.
        (libc::SYS_sched_setaffinity, vec![is(0, 0)?]),
        // An abort signals its own process.
        (libc::SYS_tgkill, vec![is(0, own_id)?]),
    ])
}

/// TCP, UDP, and the netlink protocol that lists the addresses of this machine: every other protocol would expose
/// more of the kernel.
fn sockets() -> Result<Vec<SeccompRule>, BackendError> {
    let condition = |argument, operator, value: i32| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u64)
    };
    let socket = |family: i32, kind: Option<i32>, protocol: i32| {
        let mut conditions =
            vec![condition(0, SeccompCmpOp::Eq, family)?, condition(2, SeccompCmpOp::Eq, protocol)?];
        if let Some(kind) = kind {
            conditions.push(condition(1, SeccompCmpOp::MaskedEq(SOCKET_KINDS), kind)?);
        }
        SeccompRule::new(conditions)
    };
    let mut rules = vec![socket(libc::AF_NETLINK, None, libc::NETLINK_ROUTE)?];
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in
            [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)]
        {
            rules.push(socket(family, Some(kind), protocol)?);
            rules.push(socket(family, Some(kind), libc::IPPROTO_IP)?);
        }
    }
    Ok(rules)
}

/// A condition on the lower half of an argument; the kernel ignores the upper half.
fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

/// One condition on a whole argument: a pointer.
fn whole(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{FlockOperation, flock};
    use socket2::{Domain, Protocol, Socket, Type};
    use std::net::{TcpStream, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    /// A filter applies to a thread and its children, so a test can use one.
    #[test]
    fn a_filtered_thread_can_do_what_the_daemon_does_and_no_more() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let refused = |what: &str, result: io::Result<()>| {
            let code = result.err().and_then(|error| error.raw_os_error());
            assert_eq!(code, Some(libc::EPERM), "{what}");
        };
        let filtered = std::thread::spawn(move || {
            let before = Command::new("true").status();
            assert!(enforce().unwrap());
            // Calls of the daemon.
            let mut buffer = vec![0; 1 << 20];
            buffer.resize(16 << 20, 1);
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            rustix::net::netdevice::name_to_index(&socket, "lo").unwrap();
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nonblocking(true).unwrap();
            assert!(if_addrs::get_if_addrs().is_ok());
            getrandom::u64().unwrap();
            let named = std::thread::Builder::new().name("named".into());
            named.spawn(|| std::fs::read("/etc/hosts").is_ok()).unwrap().join().unwrap();
            assert!(std::fs::read_dir("/").unwrap().all(|entry| entry.is_ok()), "Landlock says which");
            std::thread::sleep(std::time::Duration::from_millis(1));
            // With the lock of a log that rotates.
            let hosts = std::fs::File::open("/etc/hosts").unwrap();
            flock(&hosts, FlockOperation::NonBlockingLockShared).unwrap();
            // Calls that are refused.
            assert!(before.is_ok());
            refused("a process", Command::new("true").status().map(drop));
            refused("a listener", std::net::TcpListener::bind("127.0.0.1:0").map(drop));
            refused("a socket of Unix", UnixStream::pair().map(drop));
            let netlink = Domain::from(libc::AF_NETLINK);
            let others = [
                (netlink, Type::RAW, libc::NETLINK_SOCK_DIAG),
                (netlink, Type::RAW, libc::NETLINK_NETFILTER),
                (netlink, Type::DGRAM, libc::NETLINK_KOBJECT_UEVENT),
                (netlink, Type::RAW, libc::NETLINK_AUDIT),
                (Domain::IPV4, Type::RAW, libc::IPPROTO_ICMP),
                (Domain::IPV4, Type::DGRAM, libc::IPPROTO_ICMP),
                (Domain::IPV6, Type::STREAM, libc::IPPROTO_SCTP),
                (Domain::IPV4, Type::SEQPACKET, 0),
                (Domain::PACKET, Type::RAW, 0),
                (Domain::VSOCK, Type::STREAM, 0),
            ];
            for (domain, kind, protocol) in others {
                let what = format!("{domain:?} {kind:?} {protocol}");
                refused(&what, Socket::new(domain, kind, Some(Protocol::from(protocol))).map(drop));
            }
            for (domain, kind, protocol) in [
                (netlink, Type::RAW, libc::NETLINK_ROUTE),
                (netlink, Type::DGRAM, libc::NETLINK_ROUTE),
                (Domain::IPV4, Type::STREAM, libc::IPPROTO_TCP),
                (Domain::IPV6, Type::DGRAM, libc::IPPROTO_UDP),
            ] {
                Socket::new(domain, kind, Some(Protocol::from(protocol))).unwrap();
            }
            refused(
                "another's memory",
                rustix::process::set_parent_process_death_signal(None).map_err(io::Error::from),
            );
            refused("limits", super::super::protect_memory());
        });
        filtered.join().unwrap();
        drop(listener);
    }
}
