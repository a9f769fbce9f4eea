//! Opens what a command works on.

use squire_engine::{Graph, Options};

use crate::{
    cli::{GraphArg, TargetArg},
    exit::{Done, Failure},
    target::Opened,
};

pub(super) fn options(actor: Option<&String>) -> Options {
    let mut options = Options::default();
    if let Some(actor) = actor {
        options.actor.clone_from(actor);
    }
    options
}

pub(super) async fn open(graph: &GraphArg) -> Result<Graph, Failure> {
    Ok(Graph::open(&graph.graph, options(graph.actor.as_ref())).await?)
}

/// Opens a graph or a directory; `writing` heals what is in a graph's way first.
pub(super) async fn opened(target: &TargetArg, writing: bool) -> Result<Opened, Failure> {
    let options = options(target.actor.as_ref());
    let opened = Opened::open(&target.target, None, options.clone()).await?;
    Ok(match opened {
        Opened::Graph(_) if writing => {
            Opened::Graph(Graph::open_for_writing(&target.target, options).await?)
        }
        opened => opened,
    })
}

/// Works on a graph, and takes leave of it however the work ends: no heartbeat stays behind.
pub(super) async fn working(graph: &GraphArg, work: impl AsyncFnOnce(&Graph) -> Done) -> Done {
    let graph = open(graph).await?;
    let done = work(&graph).await;
    graph.close().await;
    done
}

/// Works on a graph to change it; heals what is in the way first.
pub(super) async fn changing(graph: &GraphArg, work: impl AsyncFnOnce(&Graph) -> Done) -> Done {
    changing_with(graph, options(graph.actor.as_ref()), work).await
}

/// The same, with options of its own.
pub(super) async fn changing_with(
    graph: &GraphArg,
    options: Options,
    work: impl AsyncFnOnce(&Graph) -> Done,
) -> Done {
    let graph = Graph::open_for_writing(&graph.graph, options).await?;
    let done = work(&graph).await;
    graph.close().await;
    done
}
