//! `/`: a plain page with a player for each film.

use std::fmt::Write;
use std::sync::Arc;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header;

use crate::app::App;

/// The page runs no script and loads nothing but films from here.
const POLICY: &str = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
                     video{width:100%;background:#000}h2{font-size:1rem;overflow-wrap:anywhere}";

/// `GET /`.
pub async fn page(State(app): State<Arc<App>>) -> impl IntoResponse {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    (headers, render(&app))
}

fn render(app: &App) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Lookbehind</title>\n<style>{STYLE}</style>\n<h1>Lookbehind</h1>\n"
    );
    for film in &app.films {
        let (name, path) = (escape(&film.name), film.url_path());
        // Writing to a String cannot fail.
        let _ = writeln!(
            html,
            "<h2><a href=\"{path}\">{name}</a></h2>\n\
             <video controls preload=\"metadata\" src=\"{path}\"></video>"
        );
    }
    html.push_str(
        "<p><a href=\"/api/v1/storages\">storages</a> <a href=\"/metrics\">metrics</a></p>\n",
    );
    html
}

/// Text as it may stand in HTML, in quotes too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks_out() {
        let escaped = super::escape("<script>\"'&amp;");
        assert_eq!(escaped, "&lt;script&gt;&quot;&#39;&amp;amp;");
    }
}
