//! What balancers look at.

mod common;

#[test]
fn a_server_with_its_model_is_healthy() {
    let server = common::Setup::default().run();
    assert_eq!(server.get("/health").0, 200);
    assert_eq!(server.get("/nothing").0, 404);
}
