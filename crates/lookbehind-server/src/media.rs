//! The answer to a request for a film.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use headers::{HeaderMapExt, LastModified};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use lookbehind::{Extent, PlayerConfig};

use crate::app::App;
use crate::body::{FilmBody, Stretch};
use crate::conditions::{self, Validators, Verdict};
use crate::film::{Edition, Film, RETRY_AFTER, Unavailable};
use crate::multipart::{Multipart, content_range};
use crate::range::{self, Asked};
use crate::record::Tape;
use crate::serve::Peer;
use crate::viewer::{LINGER, Who};

/// `GET` and `HEAD` of `/media/<n>` and `/media/<n>/<name>`.
pub async fn media(State(app): State<Arc<App>>, request: Request) -> Response {
    // The name is for people; the number alone says which film.
    let number = request.uri().path().split('/').nth(2).unwrap_or_default();
    let Some(film) = number.parse().ok().and_then(|index: usize| app.films.get(index)) else {
        return text(StatusCode::NOT_FOUND, "there is no such film");
    };
    let edition = match film.current().await {
        Ok(edition) => edition,
        Err(unavailable) => return sorry(film, &unavailable),
    };
    let mut response = answer(&app, film, &edition, &request);
    let status = response.status();
    let headers = response.headers_mut();
    if status != StatusCode::INTERNAL_SERVER_ERROR {
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        describe(headers, &edition.validators);
    }
    response
}

/// The validators of the state that the answer is about.
fn describe(headers: &mut HeaderMap, validators: &Validators) {
    headers.typed_insert(validators.etag.clone());
    if let Some(modified) = validators.last_modified {
        headers.typed_insert(LastModified::from(modified));
    }
}

fn answer(app: &App, film: &Film, edition: &Arc<Edition>, request: &Request) -> Response {
    let headers = request.headers();
    match conditions::weigh(headers, &edition.validators) {
        Verdict::NotModified => return StatusCode::NOT_MODIFIED.into_response(),
        Verdict::Failed => {
            return text(StatusCode::PRECONDITION_FAILED, "the film is in another state");
        }
        Verdict::Proceed => {}
    }
    let len = edition.len;
    let asked = match headers.get(header::RANGE) {
        // Only GET knows ranges (RFC 9110, section 14.2).
        Some(value)
            if request.method() == Method::GET
                && conditions::range_counts(headers, &edition.validators) =>
        {
            // Range is no list that could be spread over several lines.
            match headers.get_all(header::RANGE).iter().nth(1) {
                Some(_) => Asked::Refused("there are two Range headers"),
                None => range::parse(value.as_bytes(), len),
            }
        }
        _ => Asked::Whole,
    };
    let mut head = Head { status: StatusCode::OK, fields: Vec::with_capacity(3) };
    let (stretches, body_len) = match &asked {
        Asked::Refused(reason) => {
            let mut response = text(StatusCode::RANGE_NOT_SATISFIABLE, reason);
            let range = number(format!("bytes */{len}"));
            response.headers_mut().insert(header::CONTENT_RANGE, range);
            return response;
        }
        Asked::Whole => {
            head.field(header::CONTENT_TYPE, film.content_type.clone());
            (vec![Stretch::Film(0..len)], len)
        }
        Asked::Parts(parts) => {
            head.status = StatusCode::PARTIAL_CONTENT;
            if let [part] = &parts[..] {
                head.field(header::CONTENT_TYPE, film.content_type.clone());
                head.field(header::CONTENT_RANGE, number(content_range(part, len)));
                (vec![Stretch::Film(part.clone())], part.end - part.start)
            } else {
                let kind = film.content_type.to_str().unwrap_or("application/octet-stream");
                let multipart = Multipart::new(parts, len, kind);
                head.field(header::CONTENT_TYPE, number(multipart.content_type));
                (multipart.stretches, multipart.len)
            }
        }
    };
    head.field(header::CONTENT_LENGTH, HeaderValue::from(body_len));
    if request.method() == Method::HEAD {
        return head.with(Body::empty());
    }
    match body(app, film, edition, request, stretches) {
        Ok(body) => head.with(Body::from_stream(body)),
        Err(error) => {
            tracing::warn!(film = film.name, %error, "no player");
            text(StatusCode::SERVICE_UNAVAILABLE, "the film cannot be played now")
        }
    }
}

/// Opens a player at the first byte asked for.
fn body(
    app: &App,
    film: &Film,
    edition: &Arc<Edition>,
    request: &Request,
    stretches: Vec<Stretch>,
) -> Result<FilmBody, lookbehind::Error> {
    let first = stretches.iter().find_map(|stretch| match stretch {
        Stretch::Film(range) => Some(range.clone()),
        Stretch::Text(_) => None,
    });
    let first = first.unwrap_or(0..edition.len);
    let seat = app.viewers.seat(who(film, request));
    let config = PlayerConfig::default()
        .ahead(Extent::Bytes(edition.bytes_in(app.ahead)))
        .behind(Extent::Bytes(edition.bytes_in(app.behind)))
        .bitrate(edition.bitrate)
        .position(edition.within_storage(&first).start)
        .linger(LINGER)
        .viewer(seat.viewer());
    let player = edition.storage.player(config)?;
    let body = FilmBody::new(Arc::clone(edition), player, stretches, Arc::clone(&app.pins), seat);
    let tape = |recorder| Tape::new(recorder, edition.bytes_in(app.ahead));
    Ok(body.recorded(app.recorder.clone().map(tape)))
}

fn who<'a>(film: &Film, request: &'a Request) -> Who<'a> {
    let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
    let query = request.uri().query().unwrap_or_default();
    Who {
        film: film.index,
        named: query.split('&').find_map(|pair| pair.strip_prefix("viewer=")),
        connection: peer.connection,
        peer: peer.address.ip(),
        agent: request.headers().get(header::USER_AGENT).map_or(b"", HeaderValue::as_bytes),
    }
}

/// Status and header fields while the body is still to be made.
struct Head {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Head {
    fn field(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    fn with(self, body: Body) -> Response {
        let mut response = (self.status, body).into_response();
        response.headers_mut().extend(self.fields);
        response
    }
}

/// A header value of visible ASCII.
fn number(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

fn sorry(film: &Film, why: &Unavailable) -> Response {
    tracing::warn!(film = film.name, %why, "unavailable");
    match why {
        Unavailable::Gone => text(StatusCode::NOT_FOUND, "the film is gone"),
        Unavailable::Empty => text(StatusCode::INTERNAL_SERVER_ERROR, "the film's file is empty"),
        Unavailable::Changing => {
            let mut response = text(StatusCode::SERVICE_UNAVAILABLE, "the film is being written");
            let seconds = HeaderValue::from(RETRY_AFTER.as_secs());
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
            response
        }
        // The error itself may name a path.
        Unavailable::Unreadable(_) => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "the film's file cannot be read")
        }
        Unavailable::Refused(_) => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the cache cannot take the film now")
        }
    }
}

/// A short answer in words.
pub fn text(status: StatusCode, message: &str) -> Response {
    (status, format!("{message}\n")).into_response()
}
