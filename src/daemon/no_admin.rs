//! Empty stand-ins for the control socket, the listener of monitoring systems and the take-over of sockets, in a daemon without the
//! feature `admin`. The options are errors there, so none of these functions has work.

/// Stands in for the control socket.
pub mod control {
    use super::takeover::Sockets;
    use crate::daemon::report::fail;
    use std::io;
    use std::sync::mpsc::SyncSender;
    use weir::config::{Settings, exit, feature};
    use weir::embed::Control;

    /// Has no value: there is no control socket.
    pub enum ControlSocket {}
    /// Has no value: there is no socket file.
    pub enum SocketFile {}

    /// Dropping the file of a socket would remove it.
    impl Drop for SocketFile {
        fn drop(&mut self) {
            match *self {}
        }
    }

    /// Stands in for the orders of operators.
    #[derive(Clone, Debug, Default)]
    pub struct Orders(());

    impl Orders {
        /// An empty list.
        pub fn take_waiting(&self) -> [SyncSender<(bool, String)>; 0] {
            []
        }

        /// False: TERM comes from outside.
        pub fn take_drain(&self) -> bool {
            false
        }
    }

    /// Opens nothing.
    pub fn bind(_settings: &Settings) -> Result<Option<ControlSocket>, u8> {
        Ok(None)
    }

    /// Is never called: there is no socket.
    pub fn serve(
        socket: ControlSocket,
        _control: &Control,
        _orders: &Orders,
        _sockets: &Sockets,
    ) -> io::Result<SocketFile> {
        match socket {}
    }

    /// `weir ctl` is refused with the command line already.
    pub fn ctl(_settings: &Settings, _words: &[String], _json: bool) -> u8 {
        fail(&format!("ctl {}", feature::ADMIN.needed()), exit::USAGE)
    }
}

/// Stands in for the listener.
pub mod monitoring {
    use std::io;
    use weir::config::Settings;
    use weir::embed::Control;

    /// The missing listener.
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

/// Stands in for the sockets that one weir gives to another.
pub mod takeover {
    use std::io;
    use std::net::TcpListener;
    use weir::config::Settings;
    use weir::embed::Listeners;

    /// Stands in for the weir before this one.
    pub struct Predecessor;

    impl Predecessor {
        /// Asks for no sockets.
        pub fn ask(_settings: &Settings) -> Result<(Predecessor, Vec<TcpListener>), u8> {
            Ok((Predecessor, Vec::new()))
        }

        /// False: no weir is taken over.
        pub fn is_there(&self) -> bool {
            false
        }

        /// Has no weir to relieve.
        pub fn relieve(self) {}
    }

    /// Stands in for the listening sockets.
    pub struct Sockets;

    impl Sockets {
        /// Takes no sockets.
        pub fn of(_listeners: &Listeners, _settings: &Settings) -> io::Result<Sockets> {
            Ok(Sockets)
        }

        /// Has no socket to close.
        pub fn close(&self) {}
    }
}
