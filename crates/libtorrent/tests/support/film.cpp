#include "film.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <system_error>
#include <tuple>

#include <unistd.h>

namespace test {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t chunk_size = 1 << 20;

struct live_directories {
    std::mutex mutex;
    std::set<std::pair<pid_t, std::string>> paths;
};

live_directories& live()
{
    // Never destroyed: films that are static objects outlive any other static.
    static auto* directories = new live_directories;
    return *directories;
}

// The output function of SplitMix64, a bijection of 64-bit words.
std::uint64_t mix(std::uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

std::system_error failure(std::string const& what)
{
    return { errno, std::generic_category(), what };
}

} // namespace

temp_dir::temp_dir(std::string const& prefix)
{
    char const* const base = std::getenv("TMPDIR");
    path_ = std::string(base && *base ? base : "/tmp") + "/" + prefix + "-XXXXXX";
    if (!::mkdtemp(path_.data())) throw failure("no directory " + path_);
    std::lock_guard const lock(live().mutex);
    live().paths.emplace(::getpid(), path_);
}

temp_dir::~temp_dir()
{
    std::lock_guard const lock(live().mutex);
    if (live().paths.erase({ ::getpid(), path_ }) == 0) return;
    std::error_code ignored; // nothing depends on it, and a destructor cannot report
    fs::remove_all(path_, ignored);
}

void temp_dir::remove_all() noexcept
{
    std::unique_lock const lock(live().mutex, std::try_to_lock);
    if (!lock) return;
    std::error_code ignored;
    for (auto const& [owner, path] : live().paths)
        if (owner == ::getpid()) fs::remove_all(path, ignored);
}

void film_bytes(std::uint64_t seed, std::int64_t offset, lt::span<char> out)
{
    std::uint64_t const base = mix(seed + 0x9e3779b97f4a7c15U);
    auto word = static_cast<std::uint64_t>(offset) / 8;
    auto skip = static_cast<std::size_t>(offset % 8);
    char* to = out.data();
    auto left = static_cast<std::size_t>(out.size());
    while (left > 0) {
        std::uint64_t const value = mix(base + word++ * 0x9e3779b97f4a7c15U);
        char bytes[8];
        for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
        std::size_t const n = std::min(left, 8 - skip);
        std::memcpy(to, bytes + skip, n);
        to += n;
        left -= n;
        skip = 0;
    }
}

film::film(std::int64_t size, std::uint64_t seed, int files)
    : dir_("film")
    , size_(size)
{
    if (files < 1 || size < files) throw std::invalid_argument("a film has a byte in each file");
    std::int64_t left = size;
    for (int i = 0; i < files; ++i) {
        // Uneven, so that files begin anywhere in a piece; at least a byte for each to come.
        std::int64_t const rest = files - 1 - i;
        std::int64_t const share = rest == 0 ? left : left * 3 / 7;
        std::int64_t const length = std::clamp<std::int64_t>(share, 1, left - rest);
        std::string const name = "reel" + std::to_string(i);
        files_.push_back({ files == 1 ? name : "film/" + name, length, mix(seed) + unsigned(i) });
        left -= length;
    }
    if (files > 1) fs::create_directory(path() + "/film");
    std::vector<char> chunk(chunk_size);
    for (file const& f : files_) {
        std::ofstream out(path() + "/" + f.name, std::ios::binary);
        for (std::int64_t at = 0; at < f.size && out;) {
            auto const n = std::min<std::int64_t>(f.size - at, chunk_size);
            film_bytes(f.seed, at, { chunk.data(), std::ptrdiff_t(n) });
            out.write(chunk.data(), n);
            at += n;
        }
        if (!out.flush()) throw failure("film not written: " + path() + "/" + f.name);
    }
}

lt::file_storage film::files() const
{
    lt::file_storage result;
    for (file const& f : files_) result.add_file(f.name, f.size);
    return result;
}

// By name: a hybrid or v2 torrent has files in another order, and pad files between them.
film::file const* film::find(lt::file_storage const& in, lt::file_index_t index) const
{
    if (in.pad_file_at(index)) return nullptr;
    std::string const name = in.file_path(index);
    auto const found
        = std::find_if(files_.begin(), files_.end(), [&](file const& f) { return f.name == name; });
    if (found == files_.end()) throw std::invalid_argument("no such file in the film: " + name);
    return &*found;
}

void film::read(lt::file_storage const& in, lt::piece_index_t piece, std::int64_t offset,
    lt::span<char> out) const
{
    std::memset(out.data(), 0, std::size_t(out.size()));
    std::ptrdiff_t at = 0;
    for (lt::file_slice const& slice : in.map_block(piece, offset, int(out.size()))) {
        file const* const f = find(in, slice.file_index);
        if (f) film_bytes(f->seed, slice.offset, out.subspan(at, std::ptrdiff_t(slice.size)));
        at += std::ptrdiff_t(slice.size);
    }
}

std::optional<std::ptrdiff_t> film::first_wrong(lt::file_storage const& in, lt::piece_index_t piece,
    std::int64_t offset, lt::span<char const> bytes) const
{
    std::vector<char> right(std::size_t(bytes.size()));
    read(in, piece, offset, right);
    auto const wrong = std::mismatch(bytes.begin(), bytes.end(), right.begin()).first;
    if (wrong == bytes.end()) return std::nullopt;
    return wrong - bytes.begin();
}

void film::damage(lt::file_storage const& in, lt::piece_index_t piece, std::int64_t offset) const
{
    lt::file_slice const at = in.map_block(piece, offset, 1).at(0);
    file const* const f = find(in, at.file_index);
    if (!f) throw std::invalid_argument("a pad file cannot be damaged");
    char byte;
    film_bytes(f->seed, at.offset, { &byte, 1 });
    byte = static_cast<char>(~byte);
    std::fstream out(path() + "/" + f->name, std::ios::binary | std::ios::in | std::ios::out);
    out.seekp(at.offset).write(&byte, 1);
    if (!out.flush()) throw failure("film not damaged: " + path() + "/" + f->name);
}

bool film::is_at(std::string const& save_path) const
{
    std::vector<char> found(chunk_size);
    std::vector<char> right(chunk_size);
    for (file const& f : files_) {
        std::ifstream in(save_path + "/" + f.name, std::ios::binary);
        for (std::int64_t at = 0; at < f.size;) {
            auto const n = std::min<std::int64_t>(f.size - at, chunk_size);
            if (!in.read(found.data(), n)) return false;
            film_bytes(f.seed, at, { right.data(), std::ptrdiff_t(n) });
            if (std::memcmp(found.data(), right.data(), std::size_t(n)) != 0) return false;
            at += n;
        }
    }
    return true;
}

film const& shared_film(std::int64_t size, std::uint64_t seed, int files)
{
    static std::mutex mutex;
    static std::map<std::tuple<std::int64_t, std::uint64_t, int>, film> films;
    std::lock_guard const lock(mutex);
    return films.try_emplace({ size, seed, files }, size, seed, files).first->second;
}

} // namespace test
