// Hashes, and how what is under way ends.
#include "bench.hpp"

using namespace contract;

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
