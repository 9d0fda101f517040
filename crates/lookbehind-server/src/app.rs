//! What the options ask for, wired together.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use lookbehind::{Cache, Extent};

use crate::body::Pins;
use crate::cli::{ServeArgs, ServerArgs};
use crate::editions::Shared;
use crate::film::Film;
use crate::host::Hosts;
use crate::origin::Origin;
use crate::record::Recorder;
use crate::serve::{Peer, StartError};
use crate::source::Source;
use crate::viewer::Viewers;
use crate::{api, media, metrics, page};

/// The film that is served when none is given.
pub const CLIP: &[u8] = include_bytes!("../assets/clip.mp4");
const CLIP_NAME: &str = "clip.mp4";

/// All that requests share.
pub struct App {
    /// The one cache.
    pub cache: Cache,
    /// The films, in the order given.
    pub films: Vec<Film>,
    /// Who reads.
    pub viewers: Viewers,
    /// What responses may pin.
    pub pins: Arc<Pins>,
    /// Where the pieces come from, unless somebody else brings them.
    pub origin: Option<Arc<Origin>>,
    /// How far to fetch ahead.
    pub ahead: Extent,
    /// How much to keep behind.
    pub behind: Extent,
    /// The names under which to answer.
    pub hosts: Hosts,
    /// How long a client may take nothing of its answer.
    pub send_timeout: Duration,
    /// Connections open now.
    pub connections: AtomicU64,
    /// Who writes down what viewers do, if anybody.
    pub recorder: Option<Arc<Recorder>>,
    /// Records further figures, by the macros of `metrics`, at each look at `/metrics`.
    pub figures: Option<Box<dyn Fn() + Send + Sync>>,
}

impl App {
    /// Checks the options, makes the cache and opens the films of files.
    pub async fn new(args: &ServeArgs) -> Result<App, StartError> {
        let piece_len = piece_len(args)?;
        let server = &args.server;
        let cache = Cache::builder()
            .budget(server.budget)
            .build()
            .map_err(|error| StartError::new(format!("no cache of this budget: {error}")))?;
        let (delay, rate) = (args.origin_delay, args.origin_rate);
        let origin = Arc::new(Origin::new(delay, rate, server.budget, piece_len));
        let shared = Shared {
            cache: cache.clone(),
            origin: Arc::clone(&origin),
            piece_len,
            bitrate: server.bitrate,
        };
        let films = films(args, &shared).await?;
        Ok(App { origin: Some(origin), ..App::given(server, cache, films)? })
    }

    /// Serves films of this cache, whose pieces somebody else brings.
    pub fn given(args: &ServerArgs, cache: Cache, films: Vec<Film>) -> Result<App, StartError> {
        Ok(App {
            cache,
            films,
            viewers: Viewers::default(),
            pins: Pins::new(args.budget / 4),
            origin: None,
            ahead: args.ahead,
            behind: args.behind,
            hosts: Hosts::new(&args.allow_hosts),
            send_timeout: args.send_timeout,
            connections: AtomicU64::new(0),
            recorder: recorder(args)?,
            figures: None,
        })
    }

    /// The routes.
    pub fn router(self: &Arc<App>) -> Router {
        Router::new()
            .route("/", get(page::page))
            .route("/media/{number}", get(media::media))
            .route("/media/{number}/{name}", get(media::media))
            .route("/api/v1/storages", get(api::storages))
            .route("/metrics", get(metrics::metrics))
            .route("/healthz", get(async || "ok\n"))
            .fallback(async || media::text(StatusCode::NOT_FOUND, "there is nothing here"))
            .layer(from_fn_with_state(Arc::clone(self), guard))
            .with_state(Arc::clone(self))
    }
}

/// Turns foreign names away, and forbids to take an answer for what it is not.
async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let local = request.extensions().get::<Peer>().copied().unwrap_or_default().local.ip();
    let checked = app.hosts.check(request.version(), request.uri(), request.headers(), local);
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err((status, reason)) => media::text(status, reason).into_response(),
    };
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    response
}

fn piece_len(args: &ServeArgs) -> Result<u32, StartError> {
    let size = args.piece_size;
    if size == 0 {
        return Err(StartError::new("--piece-size must not be 0"));
    }
    let budget = args.server.budget;
    if size > budget / 2 {
        return Err(StartError::new(format!(
            "--piece-size of {size} bytes is more than half the --budget of {budget} bytes"
        )));
    }
    u32::try_from(size).map_err(|_| StartError::new("--piece-size must be below 4 GiB"))
}

fn recorder(args: &ServerArgs) -> Result<Option<Arc<Recorder>>, StartError> {
    let Some(path) = &args.record else { return Ok(None) };
    let recorder = Recorder::create(path);
    let failed = |error| StartError::new(format!("--record {}: {error}", path.display()));
    Ok(Some(Arc::new(recorder.map_err(failed)?)))
}

async fn films(args: &ServeArgs, shared: &Shared) -> Result<Vec<Film>, StartError> {
    let mut films = Vec::new();
    if args.files.is_empty() {
        films.push(Film::new(0, CLIP_NAME.into(), Source::Memory(CLIP), shared.clone()));
    }
    for path in &args.files {
        let source = Source::File(path.clone());
        films.push(Film::new(films.len(), Film::name_of(path), source, shared.clone()));
    }
    for film in &films {
        if let Err(why) = film.current().await {
            // The path as it was given, for whoever gave it.
            let given =
                args.files.get(film.index).map_or(CLIP_NAME.into(), |p| p.to_string_lossy());
            return Err(StartError::new(format!("{given}: {why}")));
        }
    }
    Ok(films)
}
