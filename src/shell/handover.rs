//! Listening sockets that one process hands to another over a Unix socket (`SCM_RIGHTS`, unix(7)): a new weir serves the
//! connections that wait, and no client is refused in between.

use rustix::io::retry_on_intr;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Most sockets of one message (include/net/scm.h: SCM_MAX_FD).
pub const SOCKETS_MAX: usize = 253;

/// Most bytes of the text beside the sockets (chosen: the longest line of the control socket).
const TEXT_BYTES_MAX: usize = 4096;

/// Sends a text with sockets, in one message.
pub fn give(to: impl AsFd, sockets: &[BorrowedFd<'_>], text: &[u8]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut rights = SendAncillaryBuffer::new(&mut space);
    // The space is rounded up, so that it may take one more than the system does.
    if sockets.len() > SOCKETS_MAX || !rights.push(SendAncillaryMessage::ScmRights(sockets)) {
        let expected = format!("expected at most {SOCKETS_MAX} sockets, found {}", sockets.len());
        return Err(io::Error::other(expected));
    }
    match sendmsg(to, &[IoSlice::new(text)], &mut rights, SendFlags::NOSIGNAL)? {
        sent if sent == text.len() => Ok(()),
        _ => Err(ErrorKind::WriteZero.into()),
    }
}

/// Receives one message: the text, and the sockets that came with it.
pub fn take(from: impl AsFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut text = vec![0; TEXT_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS_MAX))];
    let mut rights = RecvAncillaryBuffer::new(&mut space);
    let got = retry_on_intr(|| {
        recvmsg(&from, &mut [IoSliceMut::new(&mut text)], &mut rights, RecvFlags::CMSG_CLOEXEC)
    })?;
    let mut sockets = Vec::new();
    for message in rights.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    if got.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::other("not all sockets could be received: are there descriptors left?"));
    }
    text.truncate(got.bytes);
    Ok((text, sockets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    #[test]
    fn sockets_arrive_with_the_text() {
        for count in [1, 3, SOCKETS_MAX] {
            let (one, other) = UnixStream::pair().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            give(&one, &vec![listener.as_fd(); count], b"0\n").unwrap();
            let (text, sockets) = take(&other).unwrap();
            assert_eq!((text.as_slice(), sockets.len()), (&b"0\n"[..], count));
            for socket in sockets {
                let address = TcpListener::from(socket).local_addr().unwrap();
                assert_eq!(address, listener.local_addr().unwrap());
            }
        }
    }

    #[test]
    fn too_many_sockets_are_an_error_and_no_message() {
        let (one, other) = UnixStream::pair().unwrap();
        other.set_nonblocking(true).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        give(&one, &vec![listener.as_fd(); SOCKETS_MAX + 1], b"0\n").unwrap_err();
        assert_eq!(take(&other).unwrap_err().kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn a_text_may_come_alone() {
        let (one, other) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &one, b"1 no\n").unwrap();
        drop(one);
        let (text, sockets) = take(&other).unwrap();
        assert_eq!((text.as_slice(), sockets.len()), (&b"1 no\n"[..], 0));
        assert_eq!(take(&other).unwrap().0, b"", "the end");
    }
}
