//! `leak-host mcp`: lets an agent play the mystery game, over the Model Context Protocol on stdio.
//!
//! It is a client of the admin API, so an agent sees what any other player sees.

mod tools;

use std::process::ExitCode;

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use rmcp::transport::async_rw::AsyncRwTransport;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::McpArgs;
use crate::mystery_client::MysteryClient;

/// What an agent is told before it plays.
const INSTRUCTIONS: &str = "You play a game: find out which plugins of a service leak memory. \
    `observe` shows the state of the game and what your level lets you see. Observe several times, \
    some seconds apart, because only growth tells a leak from memory in use. Then `submit` one \
    answer. Its grade explains each part.";

/// Serves one client on stdin and stdout until it closes stdin.
pub(crate) fn run(args: &McpArgs) -> ExitCode {
    match serve_stdio(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leak-host mcp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve_stdio(args: &McpArgs) -> anyhow::Result<()> {
    let client = args.remote.client()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let game = MysteryClient::new(client, args.player.clone());
    let (input, output) = rmcp::transport::stdio();
    let result = runtime.block_on(serve(game, input, output));
    // A read of stdin that is still pending would keep the runtime.
    runtime.shutdown_background();
    result
}

/// Serves one client until it closes its side.
async fn serve<R, W>(game: MysteryClient, input: R, output: W) -> anyhow::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let transport = AsyncRwTransport::new_server(input, output);
    let service = McpServer { game }.serve(transport).await?;
    service.waiting().await?;
    Ok(())
}

/// The server: five tools.
struct McpServer {
    game: MysteryClient,
}

impl ServerHandler for McpServer {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("leak-lab", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::list()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let result = tools::call(&self.game, &request.name, &arguments).await;
        let content = |text: String| vec![ContentBlock::text(text)];
        Ok(match result {
            Ok(text) => CallToolResult::success(content(text)),
            // As a result and not as an error of the protocol, so that the agent can read it.
            Err(error) => CallToolResult::error(content(format!("{error:#}"))),
        }
        .into())
    }
}

#[cfg(test)]
mod tests;
