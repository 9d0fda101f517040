// Blocks in, and buffers out.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include "bench.hpp"

using namespace contract;

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
