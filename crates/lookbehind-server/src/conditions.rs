//! Conditional requests (RFC 9110, section 13): whether the client has what it asks for, or asks
//! for what there no longer is.

use std::time::{Duration, SystemTime};

use headers::LastModified;
use headers::{
    ETag, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfRange, IfUnmodifiedSince,
};
use http::{HeaderMap, header};

/// What identifies the state that would be sent.
#[derive(Clone, Debug)]
pub struct Validators {
    /// The strong entity tag.
    pub etag: ETag,
    /// The time of the last change, never in the future.
    pub last_modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the client asked for another state.
    Failed,
}

/// Weighs `If-Match`, `If-Unmodified-Since`, `If-None-Match` and `If-Modified-Since`, in the
/// order of section 13.2.2. The method is GET or HEAD.
pub fn weigh(headers: &HeaderMap, now: &Validators) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        // What cannot be read cannot match.
        let passes = matches!(headers.typed_try_get::<IfMatch>(),
            Ok(Some(condition)) if condition.precondition_passes(&now.etag));
        if !passes {
            return Verdict::Failed;
        }
    } else if let (Some(condition), Some(modified)) =
        (headers.typed_get::<IfUnmodifiedSince>(), now.last_modified)
        && !condition.precondition_passes(modified)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        return match headers.typed_try_get::<IfNoneMatch>() {
            Ok(Some(condition)) if !condition.precondition_passes(&now.etag) => {
                Verdict::NotModified
            }
            _ => Verdict::Proceed,
        };
    }
    match (headers.typed_get::<IfModifiedSince>(), now.last_modified) {
        (Some(condition), Some(modified)) if !condition.is_modified(modified) => {
            Verdict::NotModified
        }
        _ => Verdict::Proceed,
    }
}

/// Whether `If-Range` lets the request's `Range` count (section 13.1.5). Without it, it does.
pub fn range_counts(headers: &HeaderMap, now: &Validators) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else {
        return true;
    };
    if let Some(date) = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok()) {
        // Exactly this date, and one that can stand for one state only: within the same second
        // the file may have changed again. (`headers` takes any later date as well.)
        return now.last_modified.is_some_and(|modified| {
            let settled = modified + Duration::from_secs(2) <= SystemTime::now();
            settled && LastModified::from(modified) == LastModified::from(date)
        });
    }
    match headers.typed_try_get::<IfRange>() {
        Ok(Some(condition)) => !condition.is_modified(Some(&now.etag), None),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const DATE: &str = "Fri, 01 Mar 2024 10:00:00 GMT";
    const BEFORE: &str = "Fri, 01 Mar 2024 09:59:59 GMT";
    const AFTER: &str = "Fri, 01 Mar 2024 10:00:01 GMT";

    fn state() -> Validators {
        let fraction = Duration::from_millis(345);
        Validators {
            etag: "\"one\"".parse().unwrap(),
            last_modified: Some(httpdate::parse_http_date(DATE).unwrap() + fraction),
        }
    }

    fn map(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    fn weighed(pairs: &[(HeaderName, &str)]) -> Verdict {
        weigh(&map(pairs), &state())
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let name = header::IF_NONE_MATCH;
        for value in ["\"one\"", "W/\"one\"", "\"two\", \"one\"", "*"] {
            assert_eq!(weighed(&[(name.clone(), value)]), Verdict::NotModified, "{value}");
        }
        for value in ["\"two\"", "one", "", "\"one"] {
            assert_eq!(weighed(&[(name.clone(), value)]), Verdict::Proceed, "{value}");
        }
        let both = [(name, "\"two\""), (header::IF_MODIFIED_SINCE, DATE)];
        assert_eq!(weighed(&both), Verdict::Proceed, "the date does not count beside a tag");
    }

    #[test]
    fn if_match_compares_strongly() {
        let name = header::IF_MATCH;
        for value in ["\"one\"", "\"two\", \"one\"", "*"] {
            assert_eq!(weighed(&[(name.clone(), value)]), Verdict::Proceed, "{value}");
        }
        for value in ["\"two\"", "W/\"one\"", "one"] {
            assert_eq!(weighed(&[(name.clone(), value)]), Verdict::Failed, "{value}");
        }
    }

    #[test]
    fn dates_count_whole_seconds() {
        let since = header::IF_MODIFIED_SINCE;
        assert_eq!(weighed(&[(since.clone(), DATE)]), Verdict::NotModified);
        assert_eq!(weighed(&[(since.clone(), AFTER)]), Verdict::NotModified);
        assert_eq!(weighed(&[(since.clone(), BEFORE)]), Verdict::Proceed);
        assert_eq!(weighed(&[(since, "yesterday")]), Verdict::Proceed);
        let until = header::IF_UNMODIFIED_SINCE;
        assert_eq!(weighed(&[(until.clone(), DATE)]), Verdict::Proceed);
        assert_eq!(weighed(&[(until.clone(), BEFORE)]), Verdict::Failed);
        assert_eq!(weighed(&[(until, "yesterday")]), Verdict::Proceed);
    }

    #[test]
    fn if_range_takes_the_very_state_only() {
        let counts = |value: &str| range_counts(&map(&[(header::IF_RANGE, value)]), &state());
        assert!(counts("\"one\"") && counts(DATE));
        for value in ["\"two\"", "W/\"one\"", BEFORE, AFTER, "one", "", "*"] {
            assert!(!counts(value), "{value}");
        }
        assert!(range_counts(&HeaderMap::new(), &state()));
        let fresh = Validators { last_modified: Some(SystemTime::now()), ..state() };
        let date = httpdate::fmt_http_date(SystemTime::now());
        assert!(!range_counts(&map(&[(header::IF_RANGE, &date)]), &fresh), "too fresh to tell");
    }
}
