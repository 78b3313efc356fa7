//! The calls of the mystery game.

use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::sync::OnceCell;

use fleet::{AdminClient, AskError};

/// A player of the game on one host.
#[derive(Debug)]
pub(crate) struct MysteryClient {
    client: AdminClient,
    /// The name with which the player joins, if it plays in a class.
    player: Option<String>,
    /// The id that the host gave to the player.
    game_id: OnceCell<String>,
}

impl MysteryClient {
    pub(crate) fn new(client: AdminClient, player: Option<String>) -> Self {
        MysteryClient {
            client,
            player,
            game_id: OnceCell::new(),
        }
    }

    /// Starts a game.
    pub(crate) async fn start(&self, order: &Value) -> Result<Value, AskError> {
        self.client.post_json("/admin/mystery", order).await
    }

    /// The state of the game.
    pub(crate) async fn state(&self) -> Result<Value, AskError> {
        self.client.get("/admin/mystery").await
    }

    /// What the level shows now.
    pub(crate) async fn observation(&self) -> Result<Value, AskError> {
        self.client.get("/admin/mystery/observe").await
    }

    /// The state of the game, and what the level shows now.
    pub(crate) async fn observe(&self) -> Result<Value, AskError> {
        let game = self.state().await?;
        let status = game.get("status").and_then(Value::as_str);
        if status == Some("none") {
            return Ok(json!({"game": game, "observation": null}));
        }
        let observation = self.observation().await?;
        Ok(json!({"game": game, "observation": observation}))
    }

    /// The metrics in the Prometheus format.
    pub(crate) async fn metrics(&self) -> Result<String, AskError> {
        self.client.text(Method::GET, "/metrics").await
    }

    /// The last traces, at most `limit`.
    pub(crate) async fn traces(&self, limit: u64) -> Result<Value, AskError> {
        let path = format!("/admin/mystery/traces?limit={limit}");
        self.client.get(&path).await
    }

    /// The lines or functions that hold memory.
    pub(crate) async fn snapshot(&self) -> Result<Value, AskError> {
        self.client.get("/admin/memory/snapshot").await
    }

    /// What has changed since the last call of this function.
    pub(crate) async fn diff(&self) -> Result<Value, AskError> {
        self.client.get("/admin/memory/diff").await
    }

    /// Sends an answer and returns its grade.
    pub(crate) async fn submit(&self, mut answer: Map<String, Value>) -> Result<Value, AskError> {
        if let Some(game_id) = self.game_id().await? {
            answer.insert("game_id".to_owned(), Value::from(game_id));
        }
        let body = Value::Object(answer);
        self.client.post_json("/admin/mystery/answer", &body).await
    }

    /// Joins the game once, if the player has a name.
    async fn game_id(&self) -> Result<Option<&str>, AskError> {
        let Some(name) = &self.player else {
            return Ok(None);
        };
        let join = || async {
            let body = json!({"name": name});
            let answer = self.client.post_json("/admin/mystery/join", &body).await?;
            Ok(match answer.get("game_id") {
                Some(Value::String(id)) => id.clone(),
                Some(id) => id.to_string(),
                None => String::new(),
            })
        };
        let id = self.game_id.get_or_try_init(join).await?;
        Ok((!id.is_empty()).then_some(id.as_str()))
    }
}
