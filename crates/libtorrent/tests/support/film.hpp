// Films whose every byte can be computed: written once to a temporary directory for those who
// seed them, checked anywhere without being kept.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <libtorrent/file_storage.hpp>
#include <libtorrent/span.hpp>
#include <libtorrent/units.hpp>

namespace test {

/// A directory below TMPDIR (or /tmp), removed with what it contains by the process that made it:
/// a forked child that leaves removes nothing of its parent's.
class temp_dir {
public:
    /// Throws std::system_error if there is no place to write.
    explicit temp_dir(std::string const& prefix);
    ~temp_dir();
    temp_dir(temp_dir const&) = delete;
    temp_dir& operator=(temp_dir const&) = delete;

    std::string const& path() const { return path_; }

    /// Removes all that this process made and still has: for a process that is about to abort.
    static void remove_all() noexcept;

private:
    std::string path_;
};

/// Fills `out` with the bytes [offset, offset + out.size()) of the endless sequence of `seed`.
/// Any range costs only its own length. No two aligned 8-byte words of one seed are equal, so
/// bytes in a wrong place never look right.
void film_bytes(std::uint64_t seed, std::int64_t offset, lt::span<char> out);

/// A film of one or several files, on disk.
class film {
public:
    /// Writes `size` bytes (at least one for each file) as `files` files of different lengths.
    /// Throws std::system_error if they cannot be written, std::invalid_argument for a bad size.
    explicit film(std::int64_t size, std::uint64_t seed = 1, int files = 1);

    /// The directory to give as a seeder's save_path.
    std::string const& path() const { return dir_.path(); }
    std::int64_t size() const { return size_; }

    /// The files' names as in a torrent (with the torrent's name in front if there are several)
    /// and their lengths.
    lt::file_storage files() const;

    /// What a torrent of this film has at `offset` of `piece`: zeros in pad files. Spans pieces
    /// if `out` does. `in` is the layout of that torrent (torrent_info::files()).
    void read(lt::file_storage const& in, lt::piece_index_t piece, std::int64_t offset,
        lt::span<char> out) const;

    /// Where in `bytes` the first wrong byte is; nothing if all are right.
    std::optional<std::ptrdiff_t> first_wrong(lt::file_storage const& in, lt::piece_index_t piece,
        std::int64_t offset, lt::span<char const> bytes) const;

    /// Inverts one byte of the film on disk, at `offset` of a torrent's `piece`: a seeder of it
    /// sends a bad piece. What `read` and `first_wrong` expect stays as it was.
    void damage(lt::file_storage const& in, lt::piece_index_t piece, std::int64_t offset) const;

    /// Whether the files below `save_path` (a leecher's) have all the film's bytes.
    bool is_at(std::string const& save_path) const;

private:
    struct file {
        std::string name;
        std::int64_t size;
        std::uint64_t seed;
    };
    file const* find(lt::file_storage const& in, lt::file_index_t index) const;

    temp_dir dir_;
    std::int64_t size_;
    std::vector<file> files_;
};

/// The film of these arguments, written once per process and removed when it ends. Not to be
/// damaged.
film const& shared_film(std::int64_t size, std::uint64_t seed = 1, int files = 1);

} // namespace test
