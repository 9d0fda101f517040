//! Are these the bytes of the piece? Unverified bytes are never shown as a piece.

use std::{marker::PhantomData, sync::Arc};

use sha1::{
    Sha1,
    digest::{Digest, typenum::Unsigned},
};
use sha2::Sha256;

use crate::error::{Error, Result};

/// Judges whether bytes are those of a piece.
///
/// When the assembly of a piece opens, the cache calls [`begin`](Self::begin). If that gives a
/// hasher, the bytes are hashed while they arrive, and the hasher judges when all are there. If
/// it gives `None`, [`verify`](Self::verify) is called once with the whole piece when it is
/// complete. A piece that comes whole goes to `verify` as well.
///
/// Implement `begin` for hashes that take bytes bit by bit: the provided `verify` uses it. Where
/// only whole pieces can be judged, let `begin` give `None` and implement `verify`, or use
/// [`verify_fn`]. With `begin` giving `None` and the provided `verify`, a piece *cannot be
/// judged*, and what cannot be judged is refused with [`Error::VerifyFailed`].
///
/// The cache calls a verifier from the threads that write, outside every lock, and from several
/// at once.
pub trait Verifier: Send + Sync {
    /// A hasher that has seen nothing yet, or `None` if `piece` cannot be judged bit by bit.
    fn begin(&self, piece: u32) -> Option<Box<dyn PieceHasher>>;

    /// Whether `bytes` are the whole of `piece`. Provided: by [`begin`](Self::begin), and
    /// `false` if that gives no hasher.
    fn verify(&self, piece: u32, bytes: &[u8]) -> bool {
        self.begin(piece).is_some_and(|mut hasher| {
            hasher.update(bytes);
            hasher.matches()
        })
    }
}

/// Judges one piece whose bytes come bit by bit.
pub trait PieceHasher: Send {
    /// Takes the next bytes. They come in the order of the piece, each once, in portions of any
    /// size.
    fn update(&mut self, bytes: &[u8]);

    /// Whether all the bytes taken are those of the piece.
    fn matches(self: Box<Self>) -> bool;
}

/// Verifies pieces by a list of SHA-1 hashes, as the first version of torrents does.
pub type Sha1Verifier = DigestVerifier<Sha1, 20>;

/// Verifies pieces by a list of SHA-256 hashes.
pub type Sha256Verifier = DigestVerifier<Sha256, 32>;

/// Verifies pieces by a list of hashes of `N` bytes, the first being that of piece 0. A piece
/// beyond the list cannot be judged and is refused.
///
/// `D` is any hash of the RustCrypto family whose output is `N` bytes long; another `N` does not
/// compile.
///
/// ```
/// use lookbehind::{Sha1Verifier, Verifier};
///
/// let abc = *b"\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d";
/// let verifier = Sha1Verifier::new([abc]);
/// assert!(verifier.verify(0, b"abc"));
/// assert!(!verifier.verify(0, b"abd"));
/// assert!(!verifier.verify(1, b"abc"), "there is no hash for piece 1");
/// ```
pub struct DigestVerifier<D, const N: usize> {
    hashes: Arc<[[u8; N]]>,
    /// Hashers are made, none is kept: hence Send and Sync whatever `D` is.
    hasher: PhantomData<fn() -> D>,
}

impl<D: Digest, const N: usize> DigestVerifier<D, N> {
    const FITS: () =
        assert!(<D::OutputSize as Unsigned>::USIZE == N, "N is not the length of this hash");

    /// A verifier with one hash for each piece, from piece 0 on.
    ///
    /// ```
    /// use lookbehind::Sha256Verifier;
    ///
    /// let hashes: Vec<[u8; 32]> = vec![[0; 32]; 100];
    /// assert_eq!(Sha256Verifier::new(hashes).pieces(), 100);
    /// ```
    #[must_use]
    pub fn new(hashes: impl Into<Arc<[[u8; N]]>>) -> Self {
        const { Self::FITS };
        Self { hashes: hashes.into(), hasher: PhantomData }
    }

    /// A verifier from hashes that follow each other without a gap, as the `pieces` of a torrent
    /// do.
    ///
    /// # Errors
    ///
    /// [`Error::HashListLength`] if the length is no multiple of `N`.
    ///
    /// ```
    /// use lookbehind::{Error, Sha1Verifier};
    ///
    /// assert_eq!(Sha1Verifier::from_concatenated(&[0; 60])?.pieces(), 3);
    /// assert!(Sha1Verifier::from_concatenated(&[0; 61]).is_err());
    /// # Ok::<(), Error>(())
    /// ```
    pub fn from_concatenated(bytes: &[u8]) -> Result<Self> {
        match bytes.as_chunks() {
            (hashes, []) => Ok(Self::new(hashes)),
            _ => Err(Error::HashListLength {
                given: bytes.len() as u64,
                hash_len: u32::try_from(N).unwrap_or(u32::MAX),
            }),
        }
    }

    /// How many pieces can be judged: those from 0 up to this number.
    #[must_use]
    pub fn pieces(&self) -> usize {
        self.hashes.len()
    }
}

impl<D, const N: usize> Clone for DigestVerifier<D, N> {
    fn clone(&self) -> Self {
        Self { hashes: Arc::clone(&self.hashes), hasher: PhantomData }
    }
}

impl<D, const N: usize> std::fmt::Debug for DigestVerifier<D, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The hashes themselves would fill pages.
        f.debug_struct("DigestVerifier")
            .field("pieces", &self.hashes.len())
            .field("hash_len", &N)
            .finish()
    }
}

impl<D: Digest + Send + 'static, const N: usize> Verifier for DigestVerifier<D, N> {
    fn begin(&self, piece: u32) -> Option<Box<dyn PieceHasher>> {
        let expected = *self.hashes.get(usize::try_from(piece).ok()?)?;
        Some(Box::new(DigestHasher { digest: D::new(), expected }))
    }
}

/// A hash in the making and what it should come to.
struct DigestHasher<D, const N: usize> {
    digest: D,
    expected: [u8; N],
}

impl<D: Digest + Send, const N: usize> PieceHasher for DigestHasher<D, N> {
    fn update(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
    }

    fn matches(self: Box<Self>) -> bool {
        // Nothing is secret here: the comparison may take as long as it likes.
        self.digest.finalize().as_slice() == self.expected.as_slice()
    }
}

/// A verifier made of a closure; see [`verify_fn`].
#[derive(Clone, Debug)]
pub struct FnVerifier<F>(F);

/// Verifies by a closure that is given the number and all the bytes of a piece, and says whether
/// they belong together. It is called once a piece is complete, so that all the work comes at
/// the end: where there is a hash that takes bytes bit by bit, implement [`Verifier`] instead.
///
/// ```
/// use lookbehind::{Verifier, verify_fn};
///
/// let verifier = verify_fn(|_piece, bytes: &[u8]| bytes.first() == Some(&0x47));
/// assert!(verifier.verify(0, b"G..."));
/// ```
pub fn verify_fn<F>(verify: F) -> FnVerifier<F>
where
    F: Fn(u32, &[u8]) -> bool + Send + Sync,
{
    FnVerifier(verify)
}

impl<F> Verifier for FnVerifier<F>
where
    F: Fn(u32, &[u8]) -> bool + Send + Sync,
{
    fn begin(&self, _piece: u32) -> Option<Box<dyn PieceHasher>> {
        None
    }

    fn verify(&self, piece: u32, bytes: &[u8]) -> bool {
        (self.0)(piece, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: &[u8] = b"the bytes of a piece";

    fn sha256() -> Sha256Verifier {
        Sha256Verifier::new([[1; 32], Sha256::digest(BYTES).into()])
    }

    #[test]
    fn bytes_in_portions_match_like_bytes_at_once() {
        for portion in 1..=BYTES.len() {
            let mut hasher = sha256().begin(1).expect("there is a hash");
            for bytes in BYTES.chunks(portion) {
                hasher.update(bytes);
            }
            assert!(hasher.matches(), "portions of {portion}");
        }
        assert!(sha256().verify(1, BYTES));
    }

    #[test]
    fn wrong_bytes_too_few_and_those_of_another_piece_are_refused() {
        assert!(!sha256().verify(1, b"other bytes"));
        assert!(!sha256().verify(1, &BYTES[1..]));
        assert!(!sha256().verify(1, b""));
        assert!(!sha256().verify(0, BYTES));
    }

    #[test]
    fn a_piece_without_a_hash_cannot_be_judged_and_is_refused() {
        assert!(sha256().begin(2).is_none());
        assert!(!sha256().verify(u32::MAX, BYTES));
    }

    #[test]
    fn concatenated_hashes_are_taken_in_order() {
        let mut list = [7; 40];
        list[20..].copy_from_slice(&Sha1::digest(BYTES));
        let verifier = Sha1Verifier::from_concatenated(&list).expect("two hashes");
        assert!(verifier.verify(1, BYTES) && !verifier.verify(0, BYTES));
        assert_eq!(verifier.pieces(), 2);
        assert_eq!(Sha1Verifier::from_concatenated(&[]).unwrap().pieces(), 0);
        assert_eq!(
            Sha1Verifier::from_concatenated(&list[1..]).unwrap_err(),
            Error::HashListLength { given: 39, hash_len: 20 }
        );
    }

    #[test]
    fn a_closure_judges_whole_pieces_only() {
        let verifier: Arc<dyn Verifier> =
            Arc::new(verify_fn(|piece, bytes: &[u8]| piece == 4 && bytes == BYTES));
        assert!(verifier.begin(4).is_none());
        assert!(verifier.verify(4, BYTES));
        assert!(!verifier.verify(5, BYTES));
    }
}
