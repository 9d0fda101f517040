package lookbehind

// #include <lookbehind.h>
import "C"

import "unsafe"

// Progress says what [Storage.Write] did.
type Progress int

const (
	// Bytes of the piece are still missing.
	Partial Progress = C.LB_PROGRESS_PARTIAL
	// This block completed the piece; it awaits [Storage.Commit], for there are no hashes.
	Complete Progress = C.LB_PROGRESS_COMPLETE
	// The piece is published: by this block, or before.
	Published Progress = C.LB_PROGRESS_PUBLISHED
)

// Write writes a block of a piece, of any size, in any order. Never waits. The bytes are copied; what
// was written before stays as it is.
//
// The first block reserves memory for the whole piece: [ErrBudgetExhausted], [ErrAssembliesFull] or
// [ErrShareExhausted] if there is none. [ErrVerifyFailed] if the piece is complete and wrong: it was
// dropped. [ErrNotOpen] if it was abandoned or dropped meanwhile. [ErrBudgetExhausted] from the last
// block: the piece is complete, and [Storage.Commit] tries again.
func (s *Storage) Write(piece, offset uint32, block []byte) (Progress, error) {
	var progress C.enum_lb_progress
	err := call(func() C.lb_status {
		return C.lb_write(s.handle, C.uint32_t(piece), C.uint32_t(offset), first(block),
			C.size_t(len(block)), &progress, nil)
	})
	return Progress(progress), err
}

// Commit publishes a piece whose blocks are all written; one that is published already is no failure.
// [ErrNotOpen] if nothing of it was written, [ErrIncomplete] if bytes are missing, [ErrBudgetExhausted]
// if readers leave no room for a new version of the table.
func (s *Storage) Commit(piece uint32) error {
	return call(func() C.lb_status { return C.lb_commit(s.handle, C.uint32_t(piece)) })
}

// Abandon drops what has arrived of a piece, and says whether anything had.
func (s *Storage) Abandon(piece uint32) (bool, error) {
	var dropped C.bool
	err := call(func() C.lb_status { return C.lb_abandon(s.handle, C.uint32_t(piece), &dropped) })
	return bool(dropped), err
}

// Insert publishes a whole piece, after its verification if there are hashes. Never waits. The bytes are
// copied. A piece that is there already is no failure; what is given is not looked at then.
// [ErrWrongLength] unless it is as long as the piece.
func (s *Storage) Insert(piece uint32, data []byte) error {
	return call(func() C.lb_status {
		return C.lb_insert(s.handle, C.uint32_t(piece), first(data), C.size_t(len(data)))
	})
}

// Evict evicts the pieces from first up to, without, end that are there, and says how many were.
// [ErrBudgetExhausted] if readers leave no room for a new version of the table.
func (s *Storage) Evict(first, end uint32) (int, error) {
	var count C.size_t
	err := call(func() C.lb_status {
		return C.lb_evict(s.handle, C.uint32_t(first), C.uint32_t(end), &count)
	})
	return int(count), err
}

// Contains says whether the piece is there now.
func (s *Storage) Contains(piece uint32) (bool, error) {
	var contains C.bool
	err := call(func() C.lb_status { return C.lb_contains(s.handle, C.uint32_t(piece), &contains) })
	return bool(contains), err
}

// first is where bytes lie that C looks at, or writes to, until a call returns.
func first(bytes []byte) *C.uint8_t {
	if len(bytes) == 0 {
		return nil
	}
	return (*C.uint8_t)(unsafe.Pointer(&bytes[0]))
}
