//! The behaviour that every service has, against the simulator.

use super::*;
use crate::service::conformance::{self, Simulated};
use crate::simulator::{Data, Kind, SimSource, Simulator};

struct SimulatedBing(Simulator);

fn bing(endpoint: &str, key: &str) -> Arc<dyn ExportService> {
    let clients = HttpClients::new(&http()).unwrap();
    Arc::new(Bing::new("contoso", &endpoint.parse().unwrap(), Key::new(key).unwrap(), clients))
}

impl Simulated for SimulatedBing {
    fn client(&self) -> Arc<dyn ExportService> {
        bing(&self.0.endpoint(), KEY)
    }

    fn client_with_wrong_key(&self) -> Arc<dyn ExportService> {
        bing(&self.0.endpoint(), "another-key")
    }

    fn client_of_nothing(&self) -> Arc<dyn ExportService> {
        // Port 1 is reserved, and nothing listens there.
        bing("http://127.0.0.1:1/REST/v1", KEY)
    }

    fn target(&self) -> Target {
        target()
    }

    fn document(&self) -> Vec<u8> {
        Data::first_places(20).document().to_vec()
    }

    fn key(&self) -> String {
        KEY.to_owned()
    }

    fn remote_jobs(&self) -> usize {
        self.0.remote_jobs().len()
    }

    fn requests(&self) -> usize {
        self.0.requests().len()
    }
}

#[tokio::test]
async fn it_behaves_as_every_service() {
    let source = SimSource::new("20181f26", "Stores", KEY, Data::first_places(20));
    let simulator = Simulator::start(vec![source]).await.unwrap();
    let service = SimulatedBing(simulator);
    conformance::check(&service).await;
    assert!(service.0.count(Kind::Create) >= 2);
}
