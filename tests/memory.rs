//! What many have needed goes back when they are gone: the engine driven without sockets.

mod shell;

use shell::Shell;
use weir::engine::{Event, PeerId};

fn crowd(shell: &mut Shell) -> Vec<PeerId> {
    (0..5000).map(|_| shell.client()).collect()
}

#[test]
fn tables_shrink_when_most_are_gone() {
    let mut shell = Shell::new();
    assert!(!shell.engine.may_shrink());
    let mut clients = crowd(&mut shell);
    assert!(!shell.engine.may_shrink(), "all of it is needed");
    let last = clients.pop().expect("a client");
    clients.into_iter().for_each(|client| shell.event(client, Event::EndOfStream));
    assert!(shell.engine.may_shrink());
    assert!(!shell.engine.shrink(), "it was needed a moment ago");
    assert!(shell.engine.shrink());
    assert!(!shell.engine.may_shrink(), "whoever is left keeps the table as it is");
    shell.event(last, Event::EndOfStream);
    assert!(shell.engine.may_shrink() && shell.engine.shrink() && !shell.engine.may_shrink());
    assert!(shell.closed.len() == 5000 && shell.engine.is_empty());
}

#[test]
fn a_table_that_has_shrunk_may_do_so_again() {
    let mut shell = Shell::new();
    for _ in 0..2 {
        let clients = crowd(&mut shell);
        clients.into_iter().for_each(|client| shell.event(client, Event::EndOfStream));
        assert!(shell.engine.may_shrink() && !shell.engine.shrink() && shell.engine.shrink());
        assert!(!shell.engine.may_shrink());
    }
}
