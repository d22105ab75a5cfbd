//! What stands for the socket of operators and for the listener of monitoring systems in a daemon without the feature `admin`.
//! The options are errors there, so nothing of this is asked for.

/// In place of the socket.
pub mod control {
    use super::takeover::Sockets;
    use crate::daemon::report::fail;
    use std::io;
    use std::sync::mpsc::SyncSender;
    use weir::config::{Settings, exit, feature};
    use weir::embed::Control;

    /// There is none.
    pub enum ControlSocket {}
    /// There is none.
    pub enum SocketFile {}

    /// A socket has a file that goes with it.
    impl Drop for SocketFile {
        fn drop(&mut self) {
            match *self {}
        }
    }

    /// No operator waits.
    #[derive(Clone, Debug, Default)]
    pub struct Waiting(());

    impl Waiting {
        /// None.
        pub fn take(&self) -> [SyncSender<(bool, String)>; 0] {
            []
        }
    }

    /// Opens nothing.
    pub fn bind(_settings: &Settings) -> Result<Option<ControlSocket>, u8> {
        Ok(None)
    }

    /// There is nothing to serve.
    pub fn serve(
        socket: ControlSocket,
        _control: &Control,
        _waiting: &Waiting,
        _sockets: &Sockets,
    ) -> io::Result<SocketFile> {
        match socket {}
    }

    /// `weir ctl` is refused with the command line already.
    pub fn ctl(_settings: &Settings, _words: &[String], _json: bool) -> u8 {
        fail(&format!("ctl {}", feature::ADMIN.needed()), exit::USAGE)
    }
}

/// In place of the listener.
pub mod monitoring {
    use std::io;
    use weir::config::Settings;
    use weir::embed::Control;

    /// No listener.
    pub struct Monitoring;

    impl Monitoring {
        /// Opens nothing.
        pub fn listen(_settings: &Settings) -> Result<Monitoring, u8> {
            Ok(Monitoring)
        }

        /// Serves nothing.
        pub fn serve(self) -> io::Result<Monitoring> {
            Ok(self)
        }

        /// Without the control socket no client waits for the outcome.
        pub fn begin(&self, _control: &Control) {}
    }
}

/// In place of the sockets that one weir gives to another.
pub mod takeover {
    use std::io;
    use std::net::TcpListener;
    use weir::config::Settings;
    use weir::embed::Listeners;

    /// None.
    pub struct Predecessor;

    impl Predecessor {
        /// Asks no weir.
        pub fn ask(_settings: &Settings) -> Result<(Predecessor, Vec<TcpListener>), u8> {
            Ok((Predecessor, Vec::new()))
        }

        /// There is none.
        pub fn is_there(&self) -> bool {
            false
        }

        /// There is none.
        pub fn relieve(self) {}
    }

    /// None.
    pub struct Sockets;

    impl Sockets {
        /// None.
        pub fn of(_listeners: &Listeners, _settings: &Settings) -> io::Result<Sockets> {
            Ok(Sockets)
        }

        /// There is nothing to close.
        pub fn close(&self) {}
    }
}
