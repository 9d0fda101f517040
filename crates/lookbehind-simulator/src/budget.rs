//! How much a cache may hold.

use std::fmt;

use crate::measure::Measure;

/// No cache is smaller, in pieces.
pub const LEAST: usize = 8;

/// A budget, as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// A part of what the trace touches (of a live storage: of its window).
    Percent(f64),
    /// So many pieces.
    Pieces(u64),
    /// So many bytes, which hold as many pieces of the longest kind.
    Bytes(u64),
}

impl Budget {
    /// How many pieces it holds, at least [`LEAST`].
    pub fn pieces(self, trace: &Measure) -> usize {
        let pieces = match self {
            Budget::Percent(percent) => (trace.base as f64 * percent / 100.0).floor() as u64,
            Budget::Pieces(pieces) => pieces,
            Budget::Bytes(bytes) => bytes / trace.largest_piece.max(1),
        };
        usize::try_from(pieces).unwrap_or(usize::MAX).max(LEAST)
    }

    /// The same as a part of what the trace touches, in percent.
    pub fn percent(self, trace: &Measure) -> f64 {
        match self {
            Budget::Percent(percent) => percent,
            _ => percent(self.pieces(trace), trace),
        }
    }
}

/// So many pieces, in percent of what the trace touches; to a thousandth.
pub fn percent(pieces: usize, trace: &Measure) -> f64 {
    let percent = pieces as f64 * 100.0 / trace.base.max(1) as f64;
    (percent * 1000.0).round() / 1000.0
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Budget::Percent(percent) => write!(f, "{percent}%"),
            Budget::Pieces(pieces) => write!(f, "{pieces} pieces"),
            Budget::Bytes(bytes) => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_in_pieces() {
        let trace = Measure { base: 6295, largest_piece: 1 << 20, ..Measure::default() };
        assert_eq!(Budget::Percent(5.0).pieces(&trace), 314);
        assert_eq!(Budget::Percent(0.01).pieces(&trace), 8);
        assert_eq!(Budget::Pieces(1000).pieces(&trace), 1000);
        assert_eq!(Budget::Bytes((100 << 20) - 1).pieces(&trace), 99);
        assert_eq!(Budget::Pieces(630).percent(&trace), 10.008);
        assert_eq!(Budget::Percent(2.5).percent(&trace), 2.5);
    }
}
