// The disk as libtorrent calls it, without libtorrent: what each call answers, that its handler
// runs once, on the io_context, and never within the call.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <thread>

#include <boost/asio/error.hpp>

#include <libtorrent/add_torrent_params.hpp>
#include <libtorrent/hasher.hpp>
#include <libtorrent/session_params.hpp>

#include "support/film.hpp"
#include "support/swarm.hpp"
#include "support/workbench.hpp"

using lookbehind::mode;
using lt::disk_interface;
using test::some_bytes;

namespace {

constexpr std::int64_t MiB = 1 << 20;
constexpr int block = lt::default_block_size;
constexpr int piece_length = 4 * block;
constexpr int last_length = block + 1000;
constexpr int last = 20;
constexpr std::int64_t film_size = last * piece_length + last_length;
lt::storage_index_t const no_such_index(77);

lt::sha1_hash hash_of(std::string const& bytes)
{
    return lt::hasher(bytes).final();
}
lt::sha256_hash hash256_of(std::string const& bytes)
{
    return lt::hasher256(bytes).final();
}

// A disk with one torrent, which at the end of every test has told all and left no pin.
struct bench final : test::workbench {
    std::size_t const pins_before = test::pins();
    lt::file_storage const files = test::layout(film_size, piece_length);
    lt::storage_index_t const film;

    explicit bench(mode const mode = mode::stream)
        : bench(test::as_told(mode))
    {
    }
    explicit bench(lookbehind::config const& config)
        : workbench(config)
        , film(add(files, test::hash_named("film").v1))
    {
    }
    ~bench() override
    {
        CHECK(finish() == "");
        CHECK(test::pins() == pins_before);
    }

    bool all_aborted(std::vector<std::shared_ptr<test::answer>> const& all) const
    {
        return std::all_of(all.begin(), all.end(), [](auto const& one) { return one->aborted(); });
    }
    bool none_came(std::vector<std::shared_ptr<test::answer>> const& all) const
    {
        return std::none_of(all.begin(), all.end(), [](auto const& one) { return one->times > 0; });
    }
};

// The same with a torrent behind it that says which bytes are right.
struct judged_bench final : test::workbench {
    std::size_t const pins_before = test::pins();
    test::film const& source = test::shared_film(film_size);
    std::shared_ptr<lt::torrent_info> const torrent;
    test::owner const owner;
    lt::file_storage const& files;
    lt::storage_index_t const film;

    judged_bench(test::kind const kind, lookbehind::config const& config)
        : workbench(config)
        , torrent(test::make_torrent(source, piece_length, kind))
        , owner([&] {
            lt::add_torrent_params params;
            params.ti = torrent;
            return params;
        }())
        , files(torrent->files())
        , film(add(files, torrent->info_hashes().get_best(), owner.torrent()))
    {
    }
    ~judged_bench() override
    {
        CHECK(finish() == "");
        CHECK(test::pins() == pins_before);
    }

    std::vector<std::shared_ptr<test::answer>> write_film(int const piece, char const flip = 0)
    {
        std::vector<std::shared_ptr<test::answer>> all;
        auto const size = files.piece_size(lt::piece_index_t(piece));
        std::string bytes(std::size_t(size), '\0');
        source.read(files, lt::piece_index_t(piece), 0, { &bytes[0], size });
        bytes[0] = char(bytes[0] ^ flip);
        for (int at = 0; at < size; at += block)
            all.push_back(write(film, piece, at, bytes.substr(std::size_t(at), block)));
        return all;
    }
    auto hash_film(int const piece, std::function<void()> then = { })
    {
        auto const kinds = torrent->info_hashes();
        auto const blocks = kinds.has_v2() ? files.blocks_in_piece2(lt::piece_index_t(piece)) : 0;
        auto const flags = kinds.has_v1() ? disk_interface::v1_hash : lt::disk_job_flags_t{ };
        return hash(film, piece, flags, blocks, std::move(then));
    }
    bool has(int const piece) const
    {
        return lookbehind::memory_disk_is_lookbehind_available(torrent->info_hashes(), piece);
    }
    lb_storage storage() const { return lookbehind::storage(torrent->info_hashes()); }
};

} // namespace

// Reading

TEST_CASE("what is written can be read in any part, though the write is not answered")
{
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        std::vector<std::shared_ptr<test::answer>> writes;
        for (int at = 3; at >= 0; --at)
            writes.push_back(on.write(on.film, 2, at * block, some_bytes(at * block, block)));
        struct part {
            int start;
            int length;
        };
        std::vector<part> const parts{ { 0, block }, { block, block }, { 1, 1 }, { block - 1, 2 },
            { 5, 3 * block }, { 0, piece_length }, { piece_length - 1, 1 }, { 777, block } };
        std::vector<std::shared_ptr<test::reading>> reads;
        for (auto const& one : parts) reads.push_back(on.read(on.film, 2, one.start, one.length));
        CHECK(on.none_came(writes));
        on.run_ready();
        for (std::size_t at = 0; at < parts.size(); ++at) {
            CAPTURE(parts[at].start);
            REQUIRE(reads[at]->well());
            CHECK(reads[at]->bytes() == some_bytes(parts[at].start, parts[at].length));
        }
        auto const answered = [](auto const& one) { return one->well(); };
        if (how == mode::keep) CHECK(std::all_of(writes.begin(), writes.end(), answered));
        if (how == mode::stream) CHECK(on.none_came(writes));
    }
}

TEST_CASE("the last piece is read to its end, and not beyond")
{
    bench on;
    on.write_piece(on.film, on.files, last);
    auto const whole = on.read(on.film, last, 0, last_length);
    auto const end = on.read(on.film, last, last_length - 1, 1);
    auto const beyond = on.read(on.film, last, last_length - 1, 2);
    on.run_ready();
    CHECK(whole->bytes() == some_bytes(std::int64_t(last) * piece_length, last_length));
    CHECK(end->well());
    CHECK(beyond->error);
}

TEST_CASE("what is not written is not read, nor what is next to it")
{
    bench on;
    on.write(on.film, 0, 0, some_bytes(0, block));
    on.write(on.film, 0, 2 * block, some_bytes(2 * block, block));
    auto const gap = on.read(on.film, 0, block, block);
    auto const over = on.read(on.film, 0, block - 1, 2);
    auto const other = on.read(on.film, 1, 0, block);
    on.run_ready();
    for (auto const& one : { gap, over, other }) {
        CHECK(one->error.ec == boost::asio::error::eof);
        CHECK(one->error.operation == lt::operation_t::file_read);
        CHECK_FALSE(one->buffer);
    }
}

TEST_CASE("a block that comes twice stays as it was, and both writes are answered")
{
    bench on(mode::keep);
    auto const first = on.write(on.film, 0, 0, some_bytes(0, block));
    auto const second = on.write(on.film, 0, 0, some_bytes(999, block));
    auto const read = on.read(on.film, 0, 0, block);
    on.run_ready();
    CHECK(first->well());
    CHECK(second->well());
    CHECK(read->bytes() == some_bytes(0, block));
}

TEST_CASE("requests that make no sense are answered, and change nothing")
{
    constexpr auto most = std::numeric_limits<int>::max();
    constexpr auto least = std::numeric_limits<int>::min();
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        auto const removed = on.add(on.files, test::hash_named("removed").v1);
        on.write_piece(removed, on.files, 0);
        on.remove(removed);
        on.write_piece(on.film, on.files, 0);
        struct request {
            lt::storage_index_t index;
            int piece;
            int start;
            int length;
        };
        std::vector<request> const requests{ { no_such_index, 0, 0, block },
            { removed, 0, 0, block },
            { lt::storage_index_t(std::numeric_limits<std::uint32_t>::max()), 0, 0, block },
            { on.film, -1, 0, block }, { on.film, last + 1, 0, block }, { on.film, most, 0, block },
            { on.film, least, 0, block }, { on.film, 0, -1, block }, { on.film, 0, least, block },
            { on.film, 0, piece_length, block }, { on.film, 0, piece_length - 1, block },
            { on.film, 0, most, block }, { on.film, 0, 0, piece_length + 1 },
            { on.film, 0, 0, most }, { on.film, 0, most, most } };
        for (auto const& one : requests) {
            CAPTURE(one.piece);
            CAPTURE(one.start);
            CAPTURE(one.length);
            auto const read = on.read(one.index, one.piece, one.start, one.length);
            auto const size = std::min(one.length, 2 * piece_length);
            auto const written = on.write(one.index, one.piece, one.start, some_bytes(0, size));
            on.run_ready();
            CHECK(read->error);
            CHECK_FALSE(read->buffer);
            CHECK(written->aborted());
        }
        for (auto const length : { 0, -1, least }) {
            auto const read = on.read(on.film, 0, 0, length);
            on.run_ready();
            CHECK(read->error);
        }
        CHECK_FALSE([&] {
            auto const empty = on.write(on.film, 0, 0, "");
            on.run_ready();
            return empty->well();
        }());
        for (auto const index : { on.film, no_such_index, removed }) {
            for (auto const piece : { -1, least, last + 1, most }) {
                CAPTURE(piece);
                auto const hash = on.hash(index, piece);
                auto const hash_v2 = on.hash(index, piece, disk_interface::v1_hash, 4);
                auto const hash2 = on.hash2(index, piece, 0);
                auto const cleared = on.clear_piece(index, piece);
                CHECK(on.run_until([&] {
                    return hash->times && hash_v2->times && hash2->times && cleared->times;
                }));
                CHECK(hash->aborted());
                CHECK(hash_v2->aborted());
                CHECK(hash2->error);
            }
        }
        auto const still = on.read(on.film, 0, 0, piece_length);
        on.run_ready();
        CHECK(still->bytes() == some_bytes(0, piece_length));
    }
}

// Buffers

TEST_CASE("buffers outlive their torrent, the disk and the io_context, and go on any thread")
{
    auto const before = test::pins();
    std::vector<std::shared_ptr<test::reading>> reads;
    {
        bench on;
        on.write_piece(on.film, on.files, 0);
        // Several of one address, and some within.
        for (auto const start : { 0, 0, 0, 5, block })
            reads.push_back(on.read(on.film, 0, start, block));
        on.run_ready();
        CHECK(reads[0]->buffer.data() == reads[1]->buffer.data());
        CHECK(on.counter(lt::counters::disk_blocks_in_use) == 5);
        std::thread([&] { reads[0]->buffer.reset(); }).join();
        CHECK(on.counter(lt::counters::disk_blocks_in_use) == 4);
        CHECK(reads[1]->bytes() == some_bytes(0, block));
        on.remove(on.film);
        CHECK(reads[2]->bytes() == some_bytes(0, block));
        reads[1]->buffer.reset();
        CHECK(on.finish() == "");
        on.destroy_context();
        CHECK(reads[2]->bytes() == some_bytes(0, block));
        CHECK(reads[3]->bytes() == some_bytes(5, block));
        reads[3]->buffer.reset();
        std::thread([&] {
            for (auto const& one : reads) one->buffer.reset();
        }).join();
        CHECK(test::pins() == before);
    }
}

TEST_CASE("a buffer stays as it is when its piece goes and another one takes its place")
{
    bench on(test::as_told(mode::stream, 2 * MiB));
    on.write_piece(on.film, on.files, 0);
    auto const read = on.read(on.film, 0, 0, piece_length);
    on.clear_piece(on.film, 0);
    on.run_ready();
    for (int piece = 0; piece < 10; ++piece) {
        on.write_piece(on.film, on.files, piece, 2);
        on.clear_piece(on.film, piece);
    }
    CHECK(read->bytes() == some_bytes(0, piece_length));
    read->buffer.reset();
}

TEST_CASE("threads free buffers of one piece at once")
{
    bench on;
    on.write_piece(on.film, on.files, 0);
    std::vector<std::shared_ptr<test::reading>> reads;
    for (int one = 0; one < 400; ++one) reads.push_back(on.read(on.film, 0, one % 7, block));
    on.run_ready();
    std::vector<std::thread> threads;
    for (std::size_t first = 0; first < 4; ++first) {
        threads.emplace_back([&, first] {
            for (auto at = first; at < reads.size(); at += 4) reads[at]->buffer.reset();
        });
    }
    for (auto& one : threads) one.join();
    CHECK(on.counter(lt::counters::disk_blocks_in_use) == 0);
}

// Torrents

TEST_CASE("the index of a removed torrent is used again, for nothing of the old one")
{
    bench on;
    auto const old = on.write_piece(on.film, on.files, 0);
    auto const old_hash = on.hash(on.film, 0);
    auto const old_read = on.read(on.film, 0, 0, block);
    on.remove(on.film);
    CHECK(on.none_came(old));
    auto const again = on.add(on.files, test::hash_named("another").v1);
    CHECK(again == on.film);
    auto const missing = on.read(again, 0, 0, block);
    auto const mine = on.write_piece(again, on.files, 0, 2);
    auto const there = on.read(again, 0, 0, block);
    CHECK(on.run_until([&] { return old_hash->times > 0; }));
    on.run_ready();
    CHECK(on.all_aborted(old));
    CHECK(old_hash->aborted());
    CHECK(old_read->bytes() == some_bytes(0, block));
    CHECK(missing->error);
    CHECK(there->bytes() == some_bytes(0, block, 2));
    CHECK(on.none_came(mine));
}

TEST_CASE("a torrent has nothing of what the same torrent had before")
{
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        on.write_piece(on.film, on.files, 0);
        on.run_ready();
        on.remove(on.film);
        auto const again = on.add(on.files, test::hash_named("film").v1);
        auto const read = on.read(again, 0, 0, block);
        on.run_ready();
        CHECK(read->error);
    }
}

TEST_CASE("stopping a torrent leaves what is withheld as it is, and removing it ends that")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    auto const stopped = on.stop(on.film);
    on.run_ready();
    CHECK(stopped->well());
    CHECK(on.none_came(writes));
    CHECK(hash->times == 0);
    on.remove(on.film);
    CHECK(on.none_came(writes));
    on.run_ready();
    CHECK(on.all_aborted(writes));
    CHECK(hash->aborted());
    CHECK(hash->order < writes[0]->order); // as libtorrent can bear it
}

TEST_CASE("there are no files: moving, renaming, releasing and deleting them is done at once")
{
    bench on;
    on.write_piece(on.film, on.files, 0);
    for (auto const index : { on.film, no_such_index }) {
        auto const moved = std::make_shared<test::answer>();
        auto move = on.handler(moved,
            [moved](lt::status_t const status, std::string const& path,
                lt::storage_error const& error) {
                if (status != lt::status_t::no_error || path != "elsewhere")
                    moved->misplaced = true;
                moved->error = error;
            });
        on.call([&](auto& disk) {
            disk.async_move_storage(
                index, "elsewhere", lt::move_flags_t::fail_if_exist, std::move(move));
        });
        auto const renamed = std::make_shared<test::answer>();
        auto rename = on.handler(renamed,
            [renamed](
                std::string const& name, lt::file_index_t file, lt::storage_error const& error) {
                if (name != "other" || file != lt::file_index_t(3)) renamed->misplaced = true;
                renamed->error = error;
            });
        on.call([&](auto& disk) {
            disk.async_rename_file(index, lt::file_index_t(3), "other", std::move(rename));
        });
        auto const released = on.release_files(index);
        on.call([&](auto& disk) {
            disk.async_release_files(index, { });
            disk.async_stop_torrent(index, { });
            disk.submit_jobs();
            disk.settings_updated();
        });
        on.run_ready();
        CHECK(moved->well());
        CHECK(renamed->well());
        CHECK(released->well());
        CHECK(on.disk().get_status(index).empty());
    }
    auto const there = on.read(on.film, 0, 0, block);
    auto const deleted = on.delete_files(on.film);
    auto const gone = on.read(on.film, 0, 0, block);
    auto const nothing = on.delete_files(no_such_index);
    on.run_ready();
    CHECK(there->well());
    CHECK(deleted->well());
    CHECK(gone->error);
    CHECK(nothing->well());
}

TEST_CASE("file priorities are taken as they are: an error would pause the torrent")
{
    bench on;
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> wanted;
    wanted.push_back(lt::top_priority);
    wanted.push_back(lt::dont_download);
    for (auto const index : { on.film, no_such_index }) {
        for (auto const& priorities : { wanted, { } }) {
            auto const set = std::make_shared<test::answer>();
            auto heard = on.handler(
                set, [set, priorities](lt::storage_error const& error, auto const& as) {
                    set->error = error;
                    if (!(as == priorities)) set->misplaced = true;
                });
            on.call([&](auto& disk) {
                disk.async_set_file_priority(index, priorities, std::move(heard));
            });
            on.run_ready();
            CHECK(set->well());
        }
    }
}

// Checks

TEST_CASE("a torrent without resume data is new, and one that had pieces is looked through")
{
    lt::add_torrent_params none;
    lt::add_torrent_params had;
    had.have_pieces.resize(last + 1, true);
    lt::add_torrent_params begun;
    begun.unfinished_pieces[lt::piece_index_t(3)].resize(4, true);
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        auto const fresh = on.check(on.film);
        auto const empty = on.check(on.film, &none);
        auto const full = on.check(on.film, &had);
        auto const part = on.check(on.film, &begun);
        on.run_ready();
        CHECK(fresh->status == lt::status_t::no_error);
        CHECK(empty->status == lt::status_t::no_error);
        CHECK(full->status == lt::status_t::need_full_check);
        CHECK(part->status == lt::status_t::need_full_check);
        for (auto const& one : { fresh, empty, full, part }) CHECK(one->well());
    }
}

TEST_CASE("a check finds a piece that is missing not wrong, and one that nobody checks aborted")
{
    auto const check = disk_interface::sequential_access | disk_interface::volatile_read
        | disk_interface::v1_hash;
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        on.write(on.film, 1, 0, some_bytes(0, block)); // not all of it
        std::shared_ptr<test::hashing> const missing = on.hash(on.film, 0, check, 4);
        std::shared_ptr<test::hashing> const plain = on.hash(on.film, 0);
        CHECK(on.run_until([&] { return missing->times && plain->times; }));
        CHECK(missing->well());
        CHECK(missing->piece == lt::piece_index_t(0));
        CHECK(missing->v1.is_all_zeros());
        CHECK(plain->aborted());
    }
}

TEST_CASE("a check in mode keep finds what is there, also what is not published")
{
    bench on(mode::keep);
    on.write_piece(on.film, on.files, last);
    auto const found
        = on.hash(on.film, last, disk_interface::sequential_access | disk_interface::v1_hash);
    CHECK(on.run_until([&] { return found->times > 0; }));
    CHECK(found->well());
    CHECK(found->v1 == hash_of(some_bytes(std::int64_t(last) * piece_length, last_length)));
}

TEST_CASE("a check in mode keep leaves nothing of a piece that is not whole")
{
    bench on(mode::keep);
    auto const wrong = on.write(on.film, last, 0, some_bytes(0, block, 2));
    auto const found
        = on.hash(on.film, last, disk_interface::sequential_access | disk_interface::v1_hash);
    CHECK(on.run_until([&] { return found->times > 0; }));
    CHECK(wrong->well());
    CHECK(found->well());
    CHECK(found->v1.is_all_zeros());
    // To libtorrent nothing of it is there: who sends it now must not answer for what was.
    on.write_piece(on.film, on.files, last);
    auto const whole = on.hash(on.film, last);
    CHECK(on.run_until([&] { return whole->times > 0; }));
    CHECK(whole->v1 == hash_of(some_bytes(std::int64_t(last) * piece_length, last_length)));
}

TEST_CASE("a check in mode stream starts anew")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const checked = on.check(on.film);
    on.run_ready();
    CHECK(checked->well());
    CHECK(on.all_aborted(writes));
    auto const found = on.hash(on.film, 0, disk_interface::sequential_access);
    auto const read = on.read(on.film, 0, 0, block);
    on.run_ready();
    CHECK(found->well());
    CHECK(found->v1.is_all_zeros());
    CHECK(read->error);
}

TEST_CASE("a check on demand looks at every piece, though one is as if always arriving")
{
    auto config = test::as_told(mode::stream);
    config.on_demand = true;
    bench on(config);
    lt::add_torrent_params had;
    had.have_pieces.resize(last + 1, true);
    auto const checked = on.check(on.film, &had);
    on.run_ready();
    CHECK(checked->status == lt::status_t::need_full_check);
    for (int piece = 0; piece <= last; ++piece) {
        CAPTURE(piece);
        auto const found = on.hash(on.film, piece, disk_interface::sequential_access);
        CHECK(on.run_until([&] { return found->times > 0; }));
        CHECK(found->well());
        CHECK(found->v1.is_all_zeros());
    }
}

TEST_CASE("a torrent that is not known, or was refused, does not pass its check")
{
    bench on(test::as_told(mode::keep, 3 * MiB));
    auto const unknown = on.check(no_such_index);
    auto const small = on.check(on.film);
    auto const large_index = on.add(on.files, test::hash_named("a second that does not fit").v1);
    auto const large = on.check(large_index);
    auto const written = on.write(large_index, 0, 0, some_bytes(0, block));
    auto const read = on.read(large_index, 0, 0, block);
    auto const hash = on.hash(large_index, 0);
    on.clear_piece(large_index, 0);
    on.run_ready();
    CHECK(unknown->status == lt::status_t::fatal_disk_error);
    CHECK(unknown->error.ec == make_error_code(lookbehind::errc::refused));
    CHECK(small->status == lt::status_t::no_error);
    CHECK(large->status == lt::status_t::fatal_disk_error);
    CHECK(large->error.ec == make_error_code(lookbehind::errc::over_budget));
    CHECK(large->error.ec.message().find("budget") != std::string::npos);
    CHECK(written->aborted());
    CHECK(read->error);
    CHECK(hash->aborted());
    CHECK(lookbehind::storage(test::hash_named("a second that does not fit")) == 0);

    // There is room when the first has gone.
    on.remove(on.film);
    auto const fits = on.check(on.add(on.files, test::hash_named("a third").v1));
    on.run_ready();
    CHECK(fits->status == lt::status_t::no_error);
}

TEST_CASE("a torrent whose pieces are more than half of the budget is refused")
{
    bench on(test::as_told(mode::stream, 1 * MiB));
    auto const index = on.add(test::layout(8 * MiB, int(MiB)), test::hash_named("large pieces").v1);
    auto const checked = on.check(index);
    on.run_ready();
    CHECK(checked->status == lt::status_t::fatal_disk_error);
    CHECK(checked->error.ec == make_error_code(lookbehind::errc::refused));
}

// Hashes

TEST_CASE("a piece is hashed as v1, and block by block as v2 where its handler looks")
{
    bench on(mode::keep);
    for (auto const piece : { 3, last }) {
        CAPTURE(piece);
        on.write_piece(on.film, on.files, piece);
        auto const size = on.files.piece_size(lt::piece_index_t(piece));
        auto const blocks = (size + block - 1) / block;
        auto const bytes = some_bytes(std::int64_t(piece) * piece_length, size);
        auto const v1 = on.hash(on.film, piece);
        auto const v2 = on.hash(on.film, piece, { }, blocks);
        auto const both = on.hash(on.film, piece, disk_interface::v1_hash, blocks);
        CHECK(on.run_until([&] { return v1->times && v2->times && both->times; }));
        CHECK(v1->v1 == hash_of(bytes));
        CHECK(both->v1 == hash_of(bytes));
        for (auto const& one : { v2, both }) {
            REQUIRE(one->v2.size() == std::size_t(blocks));
            for (int at = 0; at < blocks; ++at)
                CHECK(one->v2[std::size_t(at)]
                    == hash256_of(bytes.substr(std::size_t(at * block), block)));
        }
        for (auto const& one : { v1, v2, both }) {
            CHECK(one->well());
            CHECK(one->piece == lt::piece_index_t(piece));
        }
    }
}

TEST_CASE("a block is hashed alone")
{
    bench on;
    on.write(on.film, 0, block, some_bytes(block, block));
    on.write_piece(on.film, on.files, last);
    auto const there = on.hash2(on.film, 0, block);
    auto const end = on.hash2(on.film, last, block);
    auto const missing = on.hash2(on.film, 0, 0);
    auto const beyond = on.hash2(on.film, 0, piece_length);
    auto const negative = on.hash2(on.film, 0, -block);
    CHECK(on.run_until([&] { return there->times && end->times; }));
    on.run_ready();
    CHECK(there->v2.at(0) == hash256_of(some_bytes(block, block)));
    CHECK(end->v2.at(0)
        == hash256_of(some_bytes(std::int64_t(last) * piece_length + block, last_length - block)));
    for (auto const& one : { missing, beyond, negative }) CHECK(one->error);
}

TEST_CASE("a piece of which not all is there is not hashed but given up")
{
    bench on;
    auto writes = on.write_piece(on.film, on.files, 0);
    on.write_piece(on.film, on.files, 1);
    auto const partial = on.write(on.film, 2, 0, some_bytes(0, block));
    auto const hash = on.hash(on.film, 2);
    CHECK(partial->times == 0);
    on.run_ready();
    CHECK(hash->aborted());
    CHECK(partial->aborted());
    CHECK(hash->order < partial->order);
    CHECK(on.none_came(writes)); // the others are not touched
    auto const read = on.read(on.film, 2, 0, block);
    on.run_ready();
    CHECK(read->error);
}

TEST_CASE("clearing a piece ends what is withheld of it, its hash first, and drops its bytes")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const others = on.write_piece(on.film, on.files, 1);
    auto const hash = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    auto const cleared = on.clear_piece(on.film, 0);
    auto const read = on.read(on.film, 0, 0, block);
    CHECK(on.none_came(writes));
    on.run_ready();
    CHECK(cleared->well());
    CHECK(hash->aborted());
    CHECK(on.all_aborted(writes));
    CHECK(hash->order < writes[0]->order);
    CHECK(on.none_came(others));
    CHECK(read->error);
    // It can come anew.
    on.write_piece(on.film, on.files, 0, 2);
    auto const anew = on.read(on.film, 0, 0, block);
    on.run_ready();
    CHECK(anew->bytes() == some_bytes(0, block, 2));
}

TEST_CASE("clearing a piece while it is hashed ends the hash first, and then the writes")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    auto const cleared = on.clear_piece(on.film, 0);
    CHECK(on.run_until([&] { return hash->times && writes[3]->times; }));
    CHECK(cleared->well());
    CHECK(hash->aborted());
    CHECK(on.all_aborted(writes));
    CHECK(hash->order < writes[0]->order);
}

TEST_CASE("a check while a piece is hashed answers both hashes")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    auto const checked = on.check(on.film);
    auto const found
        = on.hash(on.film, 0, disk_interface::sequential_access | disk_interface::v1_hash);
    CHECK(on.run_until([&] { return hash->times && found->times && checked->times; }));
    on.run_ready();
    CHECK(hash->aborted());
    CHECK(on.all_aborted(writes));
    CHECK(checked->well());
    CHECK(found->well());
    CHECK(found->v1.is_all_zeros());
}

TEST_CASE("a piece that is hashed twice answers both")
{
    bench on;
    on.write_piece(on.film, on.files, 0);
    auto const first = on.hash(on.film, 0);
    auto const second = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    auto const third = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    on.clear_piece(on.film, 0);
    on.run_ready();
    for (auto const& one : { first, second, third }) CHECK(one->times == 1);
}

// Ends

TEST_CASE("aborting ends what is withheld, and later calls are answered")
{
    bench on;
    auto const writes = on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    on.call([](auto& disk) { disk.abort(false); });
    CHECK(on.none_came(writes));
    on.run_ready();
    CHECK(hash->aborted());
    CHECK(on.all_aborted(writes));
    auto const late = on.write(on.film, 1, 0, some_bytes(0, block));
    auto const late_hash = on.hash(on.film, 0);
    auto const late_hash2 = on.hash2(on.film, 0, 0);
    auto const late_read = on.read(on.film, 0, 0, block);
    auto const late_check = on.check(on.film);
    auto const late_index = on.add(on.files, test::hash_named("late").v1);
    auto const refused = on.check(late_index);
    on.clear_piece(on.film, 0);
    on.stop(on.film);
    on.delete_files(on.film);
    CHECK(on.run_dry());
    CHECK(late->aborted());
    CHECK(late_hash->aborted());
    for (auto const times : { late_hash2->times, late_read->times, late_check->times })
        CHECK(times == 1);
    CHECK(refused->status == lt::status_t::fatal_disk_error);
}

TEST_CASE("aborting while pieces are hashed ends the hashes first, and then the writes")
{
    bench on;
    std::vector<std::vector<std::shared_ptr<test::answer>>> writes;
    std::vector<std::shared_ptr<test::hashing>> hashes;
    for (int piece = 0; piece < last; ++piece) {
        writes.push_back(on.write_piece(on.film, on.files, piece));
        hashes.push_back(on.hash(on.film, piece));
    }
    on.call([](auto& disk) { disk.abort(false); });
    CHECK(on.run_dry());
    for (int piece = 0; piece < last; ++piece) {
        CAPTURE(piece);
        CHECK(hashes[std::size_t(piece)]->aborted());
        CHECK(on.all_aborted(writes[std::size_t(piece)]));
        CHECK(hashes[std::size_t(piece)]->order < writes[std::size_t(piece)][0]->order);
    }
}

TEST_CASE("abort may be called again, and may wait")
{
    bench on(mode::keep);
    on.write_piece(on.film, on.files, 0);
    auto const hash = on.hash(on.film, 0);
    auto const hash2 = on.hash2(on.film, 0, 0);
    on.call([](auto& disk) { disk.abort(true); });
    on.call([](auto& disk) { disk.abort(false); });
    on.call([](auto& disk) { disk.abort(true); });
    auto const late = on.hash(on.film, 0);
    auto const late2 = on.hash2(on.film, 0, 0);
    CHECK(on.run_dry());
    CHECK(hash->times == 1);
    CHECK(hash2->well());
    CHECK(late->aborted());
    CHECK(late2->times == 1);
}

TEST_CASE("a torrent that is removed while its piece is hashed ends it once")
{
    for (auto const how : { mode::stream, mode::keep }) {
        bench on(how);
        auto const writes = on.write_piece(on.film, on.files, 0);
        auto const hash = on.hash(on.film, 0);
        auto const hash2 = on.hash2(on.film, 0, 0);
        on.remove(on.film);
        CHECK(on.run_until([&] { return hash->times && hash2->times; }));
        on.run_ready();
        CHECK(hash->aborted());
        if (how == mode::stream) CHECK(on.all_aborted(writes));
    }
}

TEST_CASE("without torrents the io_context comes to rest")
{
    bench on;
    on.remove(on.film);
    CHECK(on.run_dry());
    // And with the next torrent the clock goes on.
    auto const index = on.add(on.files, test::hash_named("next").v1);
    on.run_ready();
    CHECK_FALSE(on.context().stopped());
    on.remove(index);
}

// Back-pressure

TEST_CASE("a write for which there is no room stops its peer, which is told later to go on")
{
    bench on(test::as_told(mode::stream, 1 * MiB));
    auto const some = std::make_shared<test::peer>();
    auto gone = std::make_shared<test::peer>();
    bool stopped = false;
    int piece = 0;
    for (; !stopped && piece <= last; ++piece) {
        auto const write = on.write(on.film, piece, 0, some_bytes(0, block), &stopped, some);
        CHECK(write->times == 0);
        on.run_ready();
        CHECK(write->aborted() == stopped);
    }
    REQUIRE(stopped);
    CHECK(piece > 2);
    bool nobody_stopped = false;
    bool gone_stopped = false;
    on.write(on.film, last - 1, 0, some_bytes(0, block), &nobody_stopped, nullptr);
    on.write(on.film, last - 1, 0, some_bytes(0, block), &gone_stopped, gone);
    CHECK(nobody_stopped);
    CHECK(gone_stopped);
    gone.reset();
    CHECK(some->times == 0);
    CHECK(on.run_until([&] { return some->times > 0; }));
    on.run_ticks();
    CHECK(some->times == 1);
    // What arrives already goes on arriving.
    bool still = true;
    on.write(on.film, 0, block, some_bytes(block, block), &still, some);
    CHECK_FALSE(still);
    // And there is room again when a piece has gone.
    on.clear_piece(on.film, 0);
    on.run_ready();
    on.write(on.film, last - 1, 0, some_bytes(0, block), &still, some);
    CHECK_FALSE(still);
}

TEST_CASE("nobody is told to go on after an abort")
{
    auto const some = std::make_shared<test::peer>();
    {
        bench on(test::as_told(mode::stream, 1 * MiB));
        bool stopped = false;
        for (int piece = 0; !stopped && piece <= last; ++piece)
            on.write(on.film, piece, 0, some_bytes(0, block), &stopped, some);
        REQUIRE(stopped);
        on.call([](auto& disk) { disk.abort(false); });
        on.run_ticks();
    }
    CHECK(some->times == 0);
    CHECK(some.use_count() == 1);
}

// Figures

TEST_CASE("counters say what is under way")
{
    bench on;
    using lt::counters;
    auto const all = [&] {
        return std::vector<std::int64_t>{ on.counter(counters::num_read_jobs),
            on.counter(counters::num_write_jobs), on.counter(counters::queued_disk_jobs),
            on.counter(counters::num_jobs), on.counter(counters::disk_blocks_in_use) };
    };
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
    on.write_piece(on.film, on.files, 0);
    on.hash(on.film, 0);
    auto const read = on.read(on.film, 0, 0, block);
    CHECK(all() == std::vector<std::int64_t>{ 1, 4, 1, 6, 1 });
    CHECK(on.run_until([&] { return on.counter(counters::queued_disk_jobs) == 0; }));
    on.run_ready();
    CHECK(all() == std::vector<std::int64_t>{ 0, 4, 0, 4, 1 });
    read->buffer.reset();
    on.clear_piece(on.film, 0);
    on.run_ready();
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
    on.write_piece(on.film, on.files, 0);
    on.hash(on.film, 0);
    on.remove(on.film);
    CHECK(on.run_dry());
    CHECK(all() == std::vector<std::int64_t>{ 0, 0, 0, 0, 0 });
}

// What is known to be good

TEST_CASE("in mode stream a good piece is shown, and libtorrent is told of it when it goes")
{
    for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
        CAPTURE(test::name(kind));
        judged_bench on(kind, test::as_told(mode::stream));
        auto const writes = on.write_film(2);
        CHECK_FALSE(on.has(2));
        auto const hash = on.hash_film(2);
        CHECK(on.run_until([&] { return on.has(2); }));
        on.run_ready();
        CHECK(hash->times == 0);
        for (auto const& one : writes) CHECK(one->times == 0);
        auto const read = on.read(on.film, 2, 0, block);
        auto const again = on.write_film(2); // it is withheld as well
        auto const found = on.storage();
        CHECK(lb_evict(found, 2, 3, nullptr) == LB_OK);
        lb_storage_close(found);
        on.run_ready();
        CHECK(hash->aborted());
        for (auto const& one : writes) {
            CHECK(one->aborted());
            CHECK(hash->order < one->order);
        }
        for (auto const& one : again) CHECK(one->aborted());
        CHECK(read->well());
        // It comes anew.
        on.write_film(2);
        on.hash_film(2);
        CHECK(on.run_until([&] { return on.has(2); }));
    }
}

TEST_CASE("in mode keep a good piece is shown, and libtorrent is told so")
{
    for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
        CAPTURE(test::name(kind));
        judged_bench on(kind, test::as_told(mode::keep));
        auto const writes = on.write_film(last);
        auto const hash = on.hash_film(last);
        CHECK(on.run_until([&] { return hash->times > 0; }));
        CHECK(hash->well());
        if (kind != test::kind::v2)
            CHECK(hash->v1 == on.torrent->hash_for_piece(lt::piece_index_t(last)));
        for (auto const& one : writes) CHECK(one->well());
        CHECK(on.has(last));
        on.clear_piece(on.film, last);
        on.run_ready();
        CHECK_FALSE(on.has(last));
    }
}

TEST_CASE("libtorrent is told of a bad piece at once: what it hashes to, and its writes before")
{
    for (auto const how : { mode::stream, mode::keep }) {
        for (auto const kind : { test::kind::v1, test::kind::v2, test::kind::hybrid }) {
            CAPTURE(test::name(kind));
            judged_bench on(kind, test::as_told(how));
            auto const writes = on.write_film(2, 1);
            auto const hash = on.hash_film(2);
            CHECK(on.run_until([&] { return hash->times > 0; }));
            CHECK(hash->well());
            if (kind != test::kind::v2) {
                CHECK_FALSE(hash->v1.is_all_zeros());
                CHECK(hash->v1 != on.torrent->hash_for_piece(lt::piece_index_t(2)));
            }
            for (auto const& one : writes) {
                CHECK(one->well());
                CHECK(one->order < hash->order);
            }
            CHECK_FALSE(on.has(2));
            // As libtorrent does it then.
            on.clear_piece(on.film, 2);
            on.write_film(2);
            on.hash_film(2);
            CHECK(on.run_until([&] { return on.has(2); }));
        }
    }
}

TEST_CASE("a piece goes for another one when there is no room, and its hash and writes are aborted")
{
    judged_bench on(test::kind::v1, test::as_told(mode::stream, 1 * MiB));
    std::vector<std::shared_ptr<test::hashing>> hashes;
    for (int piece = 0; piece < last; ++piece) {
        on.write_film(piece);
        hashes.push_back(on.hash_film(piece));
        CHECK(on.run_until([&] { return on.has(piece) || hashes.back()->times; }));
        on.run_ready();
    }
    int gone = 0;
    for (int piece = 0; piece < last; ++piece) {
        auto const there = on.has(piece);
        CHECK(hashes[std::size_t(piece)]->times == (there ? 0 : 1));
        if (!there) CHECK(hashes[std::size_t(piece)]->aborted());
        gone += there ? 0 : 1;
    }
    CHECK(gone > 0);
    CHECK(gone < last);
}

TEST_CASE("a piece whose hash comes later is judged then, whatever its handler does")
{
    auto const& source = test::shared_film(film_size);
    auto const info = test::make_torrent(source, piece_length, test::kind::v1);
    lt::add_torrent_params magnet;
    magnet.info_hashes = info->info_hashes();
    test::owner const owner(std::move(magnet));
    bench on;
    auto const film = on.add(info->files(), info->info_hashes().v1, owner.torrent());
    std::vector<std::shared_ptr<test::hashing>> hashes;
    for (auto const piece : { 0, 1, 2 }) {
        on.write_piece(film, on.files, piece, 99); // not the film's
        // Whichever is told first takes the others with it.
        hashes.push_back(on.hash(film, piece, disk_interface::v1_hash, 0, [&] {
            for (auto const other : { 0, 1, 2 }) on.clear_piece(film, other);
        }));
    }
    CHECK(on.run_until([&] { return on.counter(lt::counters::queued_disk_jobs) == 0; }));
    on.run_ready();
    for (auto const& one : hashes) CHECK(one->times == 0);
    CHECK(owner.handle().set_metadata(info->info_section()));
    CHECK(on.run_until([&] {
        return std::all_of(
            hashes.begin(), hashes.end(), [](auto const& one) { return one->times; });
    }));
}

// What is wanted

TEST_CASE("on demand, blocks that nobody wants are given up, and those that a player wants are not")
{
    auto config = test::as_told(mode::stream);
    config.on_demand = true;
    judged_bench on(test::kind::v1, config);
    auto const unwanted = on.write_film(7);
    on.run_ready();
    for (auto const& one : unwanted) CHECK(one->aborted());

    lb_player_options options{ };
    options.position = 7 * piece_length;
    options.ahead_bytes = piece_length;
    lb_player player = 0;
    auto const storage = on.storage();
    REQUIRE(lb_player_open(storage, &options, &player) == LB_OK);
    lb_storage_close(storage);
    std::uint8_t const* data = nullptr;
    std::size_t length = 0;
    REQUIRE(lb_player_next(player, 0, &data, &length) == LB_PENDING);
    on.run_ticks();
    auto const wanted = on.write_film(7);
    on.hash_film(7);
    CHECK(on.run_until([&] { return on.has(7); }));
    for (auto const& one : wanted) CHECK(one->times == 0);
    REQUIRE(lb_player_next(player, 0, &data, &length) == LB_OK);
    CHECK(length == piece_length);
    lb_release(data);
    lb_player_close(player);
}

// The functions of the disk that this one replaces

TEST_CASE("in mode stream connections are kept, and pieces picked by priority from the start")
{
    using set = lt::settings_pack;
    for (auto const how : { mode::stream, mode::keep }) {
        lt::session_params params;
        lookbehind::set_disk_io(params, test::as_told(how));
        CHECK(params.settings.get_bool(set::close_redundant_connections) == (how == mode::keep));
        CHECK((params.settings.get_int(set::initial_picker_threshold) == 0)
            == (how == mode::stream));
        CHECK(params.disk_io_constructor);
    }
}

TEST_CASE("set_memory_disk_io makes a disk of that size, and keeps connections")
{
    lt::session_params params;
    params.settings.set_bool(lt::settings_pack::close_redundant_connections, true);
    lookbehind::set_memory_disk_io(params, 5 * MiB);
    CHECK_FALSE(params.settings.get_bool(lt::settings_pack::close_redundant_connections));
    lt::io_context context;
    lt::counters counters;
    auto const disk = params.disk_io_constructor(context, params.settings, counters);
    auto const files = test::layout(film_size, piece_length);
    lt::aux::vector<lt::download_priority_t, lt::file_index_t> const priorities;
    auto const holder = disk->new_torrent(
        { files, nullptr, "", lt::storage_mode_sparse, priorities, test::hash_named("sized").v1 },
        nullptr);
    auto const cache = lookbehind::cache(test::hash_named("sized"));
    std::uint64_t budget = 0;
    CHECK(lb_cache_budget(cache, &budget) == LB_OK);
    CHECK(budget == 5 * MiB);
    lb_cache_close(cache);
}

TEST_CASE("a disk of no size, or of more than can be counted, says why there is none")
{
    for (auto const budget : { std::int64_t(0), std::int64_t(-1), std::int64_t(100),
             std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max() }) {
        lt::io_context context;
        lt::settings_pack settings;
        lt::counters counters;
        auto const make = lookbehind::disk_io_constructor(test::as_told(mode::stream, budget));
        CHECK_THROWS_WITH_AS(make(context, settings, counters), doctest::Contains("lookbehind"),
            std::invalid_argument);
    }
    CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(0, { 1 })); // and none is left behind
}

TEST_CASE("look-behind is named, found, counted and cleared, by index and by hash")
{
    judged_bench on(test::kind::hybrid, test::as_told(mode::stream));
    auto const index = int(std::uint32_t(on.film));
    auto const hashes = on.torrent->info_hashes();
    for (auto const& one : { hashes, lt::info_hash_t(hashes.v1), lt::info_hash_t(hashes.v2) }) {
        int available = -1;
        int named = -1;
        std::int64_t memory = -1;
        CHECK(lookbehind::memory_disk_set_lookbehind(one, { 3, -1, 4, -70000 }));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(one, available, named, memory));
        CHECK(available == 0);
        CHECK(named == 2);
        CHECK(memory == 0);
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(one, 3));

        on.write_film(3);
        on.hash_film(3);
        CHECK(on.run_until([&] { return on.has(3); }));
        CHECK(lookbehind::memory_disk_is_lookbehind_available(index, 3));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 4));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, -3));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 70000));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(available == 1);
        CHECK(named == 2);
        CHECK(memory >= piece_length);

        CHECK(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(one, available, named, memory));
        CHECK(named == 0);
        CHECK(lookbehind::memory_disk_set_lookbehind(index, { }));
        on.clear_piece(on.film, 3);
        on.run_ready();
    }
}

TEST_CASE("of a torrent that there is not, the functions say so")
{
    bench on;
    int available = -1;
    int named = -1;
    std::int64_t memory = -1;
    for (auto const index :
        { 1, -1, std::numeric_limits<int>::min(), std::numeric_limits<int>::max() }) {
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(index, { 1 }));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(index, 1));
        CHECK_FALSE(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(available == 0);
        CHECK(named == 0);
        CHECK(memory == 0);
    }
    for (auto const& hash : { test::hash_named("nobody's"), lt::info_hash_t() }) {
        CHECK_FALSE(lookbehind::memory_disk_set_lookbehind(hash, { 1 }));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(hash));
        CHECK_FALSE(lookbehind::memory_disk_is_lookbehind_available(hash, 1));
        CHECK_FALSE(lookbehind::memory_disk_get_lookbehind_stats(hash, available, named, memory));
        CHECK(lookbehind::storage(hash) == 0);
        CHECK(lookbehind::cache(hash) == 0);
    }
}

TEST_CASE("an index means the disk that was made last, and a hash any")
{
    bench first;
    {
        bench second;
        auto const extra = second.add(second.files, test::hash_named("extra").v1);
        auto const index = int(std::uint32_t(extra));
        CHECK(lookbehind::memory_disk_set_lookbehind(index, { 1, 2, 3 }));
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("extra"), { 1, 2 }));
        auto const only_first = first.add(first.files, test::hash_named("only in the first").v1);
        CHECK(only_first == extra);
        CHECK(lookbehind::memory_disk_set_lookbehind(test::hash_named("only in the first"), { 1 }));
        int available = 0;
        int named = 0;
        std::int64_t memory = 0;
        CHECK(lookbehind::memory_disk_get_lookbehind_stats(index, available, named, memory));
        CHECK(named == 2);
        second.remove(extra);
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(index));
        CHECK_FALSE(lookbehind::memory_disk_clear_lookbehind(test::hash_named("extra")));
    }
    // The second has gone: the first is the last.
    int available = 0;
    int named = 0;
    std::int64_t memory = 0;
    CHECK(lookbehind::memory_disk_get_lookbehind_stats(1, available, named, memory));
    CHECK(named == 1);
}
