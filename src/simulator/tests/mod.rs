//! HTTP requests to the service like any client's, and strict reading of its documents.

mod documents;
mod faults;
mod healthy;

use std::sync::Once;

use serde_json::Value;

use super::*;

const ACCESS: &str = "20181f26d9e94c81acdf9496133d4f23";
const KEY: &str = "Abc123-MasterKey";

fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let builder = reqwest::Client::builder().no_proxy().no_gzip();
    builder.redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A simulator of one source, and a client.
struct Walk {
    simulator: Simulator,
    client: reqwest::Client,
}

impl Walk {
    async fn new(data: Data, scenario: Scenario) -> Self {
        let source = SimSource::new(ACCESS, "Places", KEY, data).scenario(scenario);
        let simulator = Simulator::start(vec![source]).await.unwrap();
        Self { simulator, client: client() }
    }

    async fn well() -> Self {
        Self::new(Data::first_places(5), Scenario::default()).await
    }

    async fn get(&self, url: &str) -> reqwest::Result<reqwest::Response> {
        self.client.get(url).send().await
    }

    async fn create(&self) -> reqwest::Result<reqwest::Response> {
        let endpoint = self.simulator.endpoint();
        self.get(&format!(
            "{endpoint}/Dataflows/DataSourceDownload/{ACCESS}/Places?output=json&key={KEY}"
        ))
        .await
    }

    /// Asks for the status at the URL of a `self` link.
    async fn status(&self, url: &str) -> reqwest::Result<reqwest::Response> {
        self.get(&keyed(url, "output=json&")).await
    }

    async fn fetch(&self, url: &str) -> reqwest::Result<reqwest::Response> {
        self.get(&keyed(url, "")).await
    }

    /// Creates a job, polls until it ends, and returns the last answer.
    async fn to_the_end(&self) -> Value {
        let created = json(self.create().await).await;
        let url = link(&created, "self").unwrap();
        loop {
            let answer = json(self.status(&url).await).await;
            if !["Pending", "Created"].contains(&job(&answer)["status"].as_str().unwrap()) {
                return answer;
            }
        }
    }

    async fn result_url(&self) -> String {
        link(&self.to_the_end().await, "output").unwrap()
    }
}

fn keyed(url: &str, more: &str) -> String {
    let mark = if url.contains('?') { '&' } else { '?' };
    format!("{url}{mark}{more}key={KEY}")
}

async fn json(response: reqwest::Result<reqwest::Response>) -> Value {
    serde_json::from_str(&response.unwrap().text().await.unwrap()).unwrap()
}

fn job(answer: &Value) -> &Value {
    &answer["resourceSets"][0]["resources"][0]
}

fn link(answer: &Value, role: &str) -> Option<String> {
    let links = job(answer)["links"].as_array()?;
    let found = links.iter().find(|link| link["role"] == role)?;
    found["url"].as_str().map(str::to_owned)
}
