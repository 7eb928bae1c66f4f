//! HTTP requests to the service like any client's, and strict reading of its documents.

mod alterations;
mod changes;
mod documents;
mod faults;
mod healthy;
mod listings;
mod refusals;

use std::sync::Once;

use bytes::Bytes;
use serde_json::Value;

use super::*;

const ACCESS: &str = "20181f26d9e94c81acdf9496133d4f23";
const KEY: &str = "Abc123-MasterKey";

const XML: &str = "application/xml";

type Posted = reqwest::Result<reqwest::Response>;

/// The job ids in a list of versions.
fn ids(list: &str) -> Vec<String> {
    let parts = list.split("<atom:jobId>").skip(1);
    parts.map(|part| part.split_once('<').unwrap().0.to_owned()).collect()
}

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

    async fn of(sources: Vec<SimSource>) -> Self {
        Self { simulator: Simulator::start(sources).await.unwrap(), client: client() }
    }

    async fn with_changes(changes: Changes) -> Self {
        Self::new(Data::first_places(5), Scenario { changes, ..Scenario::default() }).await
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

    /// Posts a document to be loaded into the source.
    async fn load(&self, operation: &str, body: impl Into<Bytes>) -> Posted {
        self.post(&format!("dataSourceName=Places&loadOperation={operation}"), XML, body).await
    }

    async fn post(&self, query: &str, content_type: &str, body: impl Into<Bytes>) -> Posted {
        let endpoint = self.simulator.endpoint();
        let url = format!("{endpoint}/Dataflows/LoadDataSource?input=xml&output=json&{query}");
        let url = if query.contains("key=") { url } else { format!("{url}&key={KEY}") };
        let request = self.client.post(url).header("content-type", content_type);
        request.body(body.into()).send().await
    }

    /// Posts a document, polls until the job ends, and returns the last answer.
    async fn loaded(&self, operation: &str, data: &Data) -> Value {
        self.followed(json(self.load(operation, data.document()).await).await).await
    }

    async fn commit(&self) -> Posted {
        let endpoint = self.simulator.endpoint();
        let url = format!("{endpoint}/data/{ACCESS}/Places/$commit?output=json&key={KEY}");
        self.get(&url).await
    }

    async fn roll_back(&self, version: &str) -> Posted {
        let endpoint = self.simulator.endpoint();
        let flow = format!("{endpoint}/Dataflows/DataSourceRollback/{version}/Places");
        self.get(&format!("{flow}?output=json&key={KEY}")).await
    }

    /// Polls a job from the answer to its creation to its end.
    async fn followed(&self, created: Value) -> Value {
        let url = link(&created, "self").unwrap();
        loop {
            let answer = json(self.status(&url).await).await;
            if !["Pending", "Accepted", "Created"]
                .contains(&job(&answer)["status"].as_str().unwrap())
            {
                return answer;
            }
        }
    }

    /// The ids of the versions as the service lists them: published, staged, older.
    async fn listed_versions(&self) -> Vec<String> {
        let endpoint = self.simulator.endpoint();
        let url = format!("{endpoint}/data/{ACCESS}/Places?key={KEY}&showAllVersions=true");
        ids(&self.get(&url).await.unwrap().text().await.unwrap())
    }

    /// The jobs in the account's job list.
    async fn listed_jobs(&self) -> Vec<Value> {
        let endpoint = self.simulator.endpoint();
        let url = format!("{endpoint}/dataflows/listjobs?output=json&key={KEY}");
        let answer = json(self.get(&url).await).await;
        answer["resourceSets"][0]["resources"].as_array().cloned().unwrap_or_default()
    }

    /// Downloads a version, or what is published.
    async fn downloaded(&self, version: Option<&str>) -> Bytes {
        let endpoint = self.simulator.endpoint();
        let flow = format!("{endpoint}/Dataflows/DataSourceDownload/{ACCESS}/Places");
        let version = version.map(|id| format!("&jobId={id}")).unwrap_or_default();
        let created = json(self.get(&format!("{flow}?output=json&key={KEY}{version}")).await).await;
        let done = self.followed(created).await;
        self.fetch(&link(&done, "output").unwrap()).await.unwrap().bytes().await.unwrap()
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
