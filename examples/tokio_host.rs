//! A proxy inside a program that is built on tokio: a task waits for the proxy's descriptor and for its next deadline.
//!
//! `cargo run --example tokio_host -- [SECONDS]`: serves for five seconds if nothing else is said, then drains.

use std::error::Error;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use weir::{Configuration, Control, Proxy, Status};

fn main() -> Result<(), Box<dyn Error>> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let configuration = Configuration::new().text("host 127.0.0.1\nport 0\n");
        let proxy = Proxy::builder().configuration(configuration).build()?;
        println!("listening on {:?}", proxy.control().addresses());
        // Something else that the program does at the same time.
        tokio::spawn(drain_after(Duration::from_secs(seconds), proxy.control().clone()));
        serve(proxy).await
    })
}

async fn drain_after(time: Duration, control: Control) {
    tokio::time::sleep(time).await;
    control.drain();
}

/// Runs a proxy to its end. It stays on the thread of its task; with a runtime of several threads it can be a task of any of them.
async fn serve(proxy: Proxy) -> Result<(), Box<dyn Error>> {
    #[allow(unsafe_code)]
    // SAFETY: the descriptor of a proxy is open, and the same one, as long as the proxy is there.
    let registered = unsafe { AsyncFd::register_with_interest(proxy, Interest::READABLE) };
    let mut proxy = registered.map_err(|error| error.into_parts().1)?;
    loop {
        match proxy.get_ref().next_timeout() {
            // It has more to do at once: other tasks come first all the same.
            Some(Duration::ZERO) => tokio::task::yield_now().await,
            Some(timeout) => {
                // Either has woken the task; which one does not matter.
                if let Ok(ready) = tokio::time::timeout(timeout, proxy.readable()).await {
                    ready?.clear_ready();
                }
            }
            None => proxy.readable().await?.clear_ready(),
        }
        // Readiness was cleared before this turn: what comes during the turn makes the descriptor ready again.
        if proxy.get_mut().poll(Some(Duration::ZERO))? == Status::Ended {
            return Ok(());
        }
    }
}
