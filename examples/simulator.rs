//! The simulated service as a standalone program, to try Nightjar with:
//! `cargo run --example simulator -- 127.0.0.1:8088`. It prints a configuration for itself and
//! serves until it is stopped. A number after the address makes it serve only so many places.
#![allow(clippy::print_stdout, reason = "that is what it is for")]

use nightjar::simulator::{Data, Scenario, SimSource, Simulator};
use std::net::SocketAddr;

const ACCESS_ID: &str = "20181f26d9e94c81acdf9496133d4f23";
const KEY: &str = "key-of-the-simulated-service";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let address: SocketAddr = address.parse()?;
    let data = match std::env::args().nth(2) {
        Some(places) => Data::first_places(places.parse()?),
        None => Data::Places,
    };
    let source = SimSource::new(ACCESS_ID, "WorldPlaces", KEY, data)
        .scenario(Scenario { pending_polls: 2, ..Scenario::default() });
    let simulator = Simulator::start_on(address, vec![source]).await?;
    println!(
        "# the key: {KEY}\n\
         [accounts.simulated]\n\
         key_file = \"simulated.key\"\n\
         endpoint = \"{}\"\n\n\
         [[sources]]\n\
         name = \"places\"\n\
         account = \"simulated\"\n\
         access_id = \"{ACCESS_ID}\"\n\
         data_source = \"WorldPlaces\"\n\
         schedule = \"0 2 * * *\"",
        simulator.endpoint()
    );
    tokio::signal::ctrl_c().await?;
    Ok(())
}
