package lookbehind

// #include <lookbehind.h>
import "C"

// Status is a kind of failure. The constants of this type are errors to compare with, by [errors.Is]:
//
//	if errors.Is(err, lookbehind.ErrMissing) { ... }
type Status int

// What a call may fail with. Two of the library's are other errors here: its end is [io.EOF], and what
// does not come in time is the error of the context, or [os.ErrDeadlineExceeded].
const (
	// The read was cancelled.
	ErrCancelled Status = C.LB_CANCELLED
	// No such handle: it was closed, or never was one.
	ErrInvalidHandle Status = C.LB_INVALID_HANDLE
	// A pointer is null that must not be.
	ErrNullPointer Status = C.LB_NULL_POINTER
	// An argument makes no sense.
	ErrInvalidArgument Status = C.LB_INVALID_ARGUMENT
	// The address is not pinned.
	ErrNotPinned Status = C.LB_NOT_PINNED
	// A fault of the library. The call may have been made in part; everything can be used on.
	ErrPanicked Status = C.LB_PANICKED
	// A failure that has no number; the message has the words.
	ErrOther Status = C.LB_OTHER
	// No room in the budget, and none could be made at once.
	ErrBudgetExhausted Status = C.LB_BUDGET_EXHAUSTED
	// The storage was removed, or never added.
	ErrUnknownStorage Status = C.LB_UNKNOWN_STORAGE
	// The piece is not in the cache; or there is no global cache.
	ErrMissing Status = C.LB_MISSING
	// The film has no such piece, no longer, or not yet.
	ErrPieceOutOfRange Status = C.LB_PIECE_OUT_OF_RANGE
	// The bytes reach beyond the end of the piece.
	ErrBlockOutOfRange Status = C.LB_BLOCK_OUT_OF_RANGE
	// A whole piece was given with a length that is not its own.
	ErrWrongLength Status = C.LB_WRONG_LENGTH
	// The bytes are not those of the piece.
	ErrVerifyFailed Status = C.LB_VERIFY_FAILED
	// No block of the piece has been written, or what was written was dropped.
	ErrNotOpen Status = C.LB_NOT_OPEN
	// Blocks of the piece are missing.
	ErrIncomplete Status = C.LB_INCOMPLETE
	// The deadline passed.
	ErrTimedOut Status = C.LB_TIMED_OUT
	// The cache was aborted.
	ErrAborted Status = C.LB_ABORTED
	// The storage was removed in the meantime.
	ErrRemoved Status = C.LB_REMOVED
	// Whoever fetched the piece gave up.
	ErrFetchFailed Status = C.LB_FETCH_FAILED
	// A film or a segment of no bytes.
	ErrZeroLength Status = C.LB_ZERO_LENGTH
	// Pieces of no bytes.
	ErrZeroPieceLength Status = C.LB_ZERO_PIECE_LENGTH
	// More pieces than the tables take.
	ErrTooManyPieces Status = C.LB_TOO_MANY_PIECES
	// A piece of more than half the budget.
	ErrPieceTooLarge Status = C.LB_PIECE_TOO_LARGE
	// A budget of more than can be counted.
	ErrBudgetTooLarge Status = C.LB_BUDGET_TOO_LARGE
	// A budget that does not even hold the tables.
	ErrBudgetTooSmall Status = C.LB_BUDGET_TOO_SMALL
	// The film is not a live one: its pieces are fixed.
	ErrNotSegmented Status = C.LB_NOT_SEGMENTED
	// The film is a live one, a list of segments.
	ErrNotFixed Status = C.LB_NOT_FIXED
	// The blocks of the piece lie in too many parts.
	ErrTooFragmented Status = C.LB_TOO_FRAGMENTED
	// Pieces that arrive take all that they may take together.
	ErrAssembliesFull Status = C.LB_ASSEMBLIES_FULL
	// The storage has used up its own share of the budget.
	ErrShareExhausted Status = C.LB_SHARE_EXHAUSTED
	// The allocator refused.
	ErrOutOfMemory Status = C.LB_OUT_OF_MEMORY
	// The player was closed meanwhile.
	ErrDropped Status = C.LB_DROPPED
	// An offset beyond the end of the film, or before its first segment.
	ErrOffsetOutOfRange Status = C.LB_OFFSET_OUT_OF_RANGE
	// The length of a list of hashes is no multiple of one hash.
	ErrHashListLength Status = C.LB_HASH_LIST_LENGTH
)

// No failures: callers hear of them by other means.
const (
	pending Status = C.LB_PENDING
	end     Status = C.LB_END
)

// Error is the name of the status in the C interface, as "LB_MISSING".
func (s Status) Error() string {
	return C.GoString(C.lb_status_name(C.int(s)))
}

// Error is a failure of a call. [errors.Is] finds its status.
type Error struct {
	// What kind of failure it is.
	Status Status
	// The same in words, with the figures that belong to it.
	Message string
}

func (e *Error) Error() string {
	return "lookbehind: " + e.Message
}

// Unwrap gives the status.
func (e *Error) Unwrap() error {
	return e.Status
}
