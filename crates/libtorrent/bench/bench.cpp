// What a disk costs the process that downloads with it: the same film from the same seeders
// through each disk in turn. Seeders live in one process, each leecher in one of its own.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <libtorrent/disabled_disk_io.hpp>
#include <libtorrent/mmap_disk_io.hpp>
#include <libtorrent/posix_disk_io.hpp>
#include <libtorrent/torrent_status.hpp>

#include <lookbehind/libtorrent.hpp>

#include "disks.hpp"
#include "process.hpp"

namespace bench {
namespace {

using seconds = std::chrono::duration<double>;

bool by_files(test::leecher& l, test::film const& f)
{
    return f.is_at(l.save_path());
}
bool by_pieces(test::leecher& l, test::film const& f)
{
    return l.wrong_pieces(f).empty();
}

// Plays the whole film, without looking at its bytes: nothing else makes mode `stream` download.
class playing {
public:
    ~playing()
    {
        lb_player_close(player_);
        lb_storage_close(storage_);
    }

    bool ended(test::leecher const& of)
    {
        if (storage_ == 0 && !open(of)) return false;
        while (true) {
            std::uint8_t const* data = nullptr;
            std::size_t length = 0;
            lb_status const status = lb_player_next(player_, 0, &data, &length);
            if (status == LB_END) return true;
            if (status == LB_PENDING) return false;
            if (status != LB_OK) throw std::runtime_error(lb_status_name(status));
            lb_release(data);
        }
    }

private:
    bool open(test::leecher const& of)
    {
        storage_ = lookbehind::storage(of.handle().torrent_file()->info_hashes());
        if (storage_ == 0) return false;
        lb_player_options options{ };
        options.ahead_bytes = std::uint64_t(1) << 40; // it is fitted to half the budget
        options.behind_bytes = 1;
        return lb_player_open(storage_, &options, &player_) == LB_OK;
    }

    lb_storage storage_ = 0;
    lb_player player_ = 0;
};

disk lookbehind_disk(std::string const& name, lookbehind::mode mode, std::uint64_t budget)
{
    lookbehind::config config;
    config.budget = std::int64_t(budget);
    config.mode = mode;
    // Made where it is used: a cache that existed before the fork would not have its threads.
    auto const make = [config](auto&... arguments) {
        return lookbehind::disk_io_constructor(config)(arguments...);
    };
    if (mode == lookbehind::mode::keep) return { name, make, nullptr, by_pieces, true };
    auto const player = std::make_shared<playing>();
    auto const ended = [player](test::leecher const& of) { return player->ended(of); };
    return { name, make, ended, nullptr, true };
}

std::vector<disk> all_disks(std::uint64_t budget)
{
    std::vector<disk> all{
        { "disabled", lt::disabled_disk_io_constructor, nullptr, nullptr, false },
        { "mmap", lt::mmap_disk_io_constructor, nullptr, by_files, true },
        { "posix", lt::posix_disk_io_constructor, nullptr, by_files, true },
    };
#ifdef UPSTREAM_EXAMPLE
    all.push_back({ "example", upstream_example(), nullptr, by_pieces, true });
#endif
    all.push_back(lookbehind_disk("lookbehind-keep", lookbehind::mode::keep, budget));
    all.push_back(lookbehind_disk("lookbehind-stream", lookbehind::mode::stream, budget));
    return all;
}

} // namespace

disk find_disk(std::string const& name, std::uint64_t budget)
{
    for (disk& d : all_disks(budget))
        if (d.name == name) return d;
    throw std::invalid_argument("no disk " + name + " was compiled in");
}

std::vector<std::string> disk_names()
{
    std::vector<std::string> names;
    for (disk const& d : all_disks(0)) names.push_back(d.name);
    return names;
}

namespace {

struct options {
    std::int64_t size = 512 << 20;
    int piece = 1 << 20;
    test::kind kind = test::kind::v1;
    int files = 1;
    int seeders = 1;
    std::vector<std::string> disks = disk_names();
    std::uint64_t budget = 0;
    int rounds = 3;
    int deadline = 120;
    bool verbose = false;
};

char const usage_text[]
    = "bench_disk_io [--size BYTES] [--piece BYTES] [--kind v1|v2|hybrid] [--files N]\n"
      "  [--seeders N] [--disk NAME,...] [--budget BYTES] [--rounds N] [--deadline SECONDS]\n"
      "  [--verbose]\n"
      "BYTES may end with KiB, MiB or GiB. The budget is by default the film and a quarter of "
      "it.\n";

std::int64_t parse_bytes(std::string const& text)
{
    std::size_t end = 0;
    long long const number = std::stoll(text, &end);
    std::string const unit = text.substr(end);
    int const shift = unit.empty() ? 0
        : unit == "KiB"            ? 10
        : unit == "MiB"            ? 20
        : unit == "GiB"            ? 30
                                   : -1;
    if (shift < 0 || number < 1 || number > (std::numeric_limits<std::int64_t>::max() >> shift))
        throw std::invalid_argument("not a number of bytes: " + text);
    return number << shift;
}

int parse_count(std::string const& text)
{
    int const n = std::stoi(text);
    if (n < 1) throw std::invalid_argument("not a count: " + text);
    return n;
}

test::kind parse_kind(std::string const& text)
{
    for (test::kind const k : { test::kind::v1, test::kind::v2, test::kind::hybrid })
        if (text == test::name(k)) return k;
    throw std::invalid_argument("not v1, v2 or hybrid: " + text);
}

std::vector<std::string> split(std::string const& list)
{
    std::vector<std::string> parts;
    for (std::size_t at = 0; at <= list.size();) {
        std::size_t const comma = std::min(list.find(',', at), list.size());
        if (comma > at) parts.push_back(list.substr(at, comma - at));
        at = comma + 1;
    }
    return parts;
}

options parse(int argc, char** argv)
{
    options o;
    for (int i = 1; i < argc; ++i) {
        std::string const name = argv[i];
        if (name == "--verbose") {
            o.verbose = true;
            continue;
        }
        if (name == "--help") {
            std::string known;
            for (auto const& d : disk_names()) known += " " + d;
            std::printf("%sDisks compiled in:%s.\n", usage_text, known.c_str());
            std::exit(0);
        }
        if (i + 1 == argc) throw std::invalid_argument("a value is missing: " + name);
        std::string const value = argv[++i];
        if (name == "--size")
            o.size = parse_bytes(value);
        else if (name == "--piece")
            o.piece = static_cast<int>(parse_bytes(value));
        else if (name == "--kind")
            o.kind = parse_kind(value);
        else if (name == "--files")
            o.files = parse_count(value);
        else if (name == "--seeders")
            o.seeders = parse_count(value);
        else if (name == "--disk")
            o.disks = split(value);
        else if (name == "--budget")
            o.budget = std::uint64_t(parse_bytes(value));
        else if (name == "--rounds")
            o.rounds = parse_count(value);
        else if (name == "--deadline")
            o.deadline = parse_count(value);
        else
            throw std::invalid_argument("unknown option: " + name);
    }
    if (o.budget == 0) o.budget = std::uint64_t(o.size) + std::uint64_t(o.size) / 4;
    for (auto const& d : o.disks) find_disk(d, o.budget);
    return o;
}

enum class bytes { unchecked, right, wrong };

struct result {
    double cpu;
    double wall;
    std::int64_t peak;
    bytes checked;
    bool clean;
};

// In the leecher's process.
result download(disk const& d, std::shared_ptr<lt::torrent_info> const& torrent,
    test::film const& film, std::vector<int> const& ports, options const& o)
{
    usage const before = usage::now();
    test::leecher_options how;
    how.disk = d.make;
    if (!d.hashes) how.settings.set_bool(lt::settings_pack::disable_hash_checks, true);
    test::leecher leecher(torrent, std::move(how));
    leecher.connect(ports);
    leecher.wait(d.name + " has fetched all", std::chrono::seconds(o.deadline),
        [&] { return d.complete ? d.complete(leecher) : leecher.seen().finishes > 0; });
    // Since the connection stands: what comes before is waiting for a tick.
    double const wall = seconds(test::clock::now() - leecher.seen().first_connect).count();
    usage const after = usage::now();
    bytes checked = bytes::unchecked;
    if (d.right) checked = d.right(leecher, film) ? bytes::right : bytes::wrong;
    bool const clean = leecher.seen().clean();
    if (!clean) std::fprintf(stderr, "%s: %s\n", d.name.c_str(), leecher.seen().summary().c_str());
    leecher.close();
    return { after.cpu - before.cpu, wall, after.peak, checked, clean };
}

double median(std::vector<double> values)
{
    std::sort(values.begin(), values.end());
    std::size_t const n = values.size();
    if (n == 0) return 0;
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

template <class Get> std::vector<double> column(std::vector<result> const& results, Get get)
{
    std::vector<double> values;
    for (result const& r : results) values.push_back(get(r));
    return values;
}

bool print(std::vector<std::vector<result>> const& results, options const& o)
{
    auto const cpu = [](result const& r) { return r.cpu; };
    auto const wall = [](result const& r) { return r.wall; };
    auto const peak = [](result const& r) { return double(r.peak) / (1 << 20); };
    double base_cpu = 0;
    double base_wall = 0;
    for (std::size_t i = 0; i < o.disks.size(); ++i) {
        if (o.disks[i] != "example") continue;
        base_cpu = median(column(results[i], cpu));
        base_wall = median(column(results[i], wall));
    }
    std::printf("%s, %lld MiB, pieces of %d KiB, %d file(s), %d seeder(s), median of %d\n",
        test::name(o.kind), static_cast<long long>(o.size >> 20), o.piece >> 10, o.files, o.seeders,
        o.rounds);
    std::printf("| disk | CPU s | (min to max) | wall s | peak MiB | bytes | CPU/example "
                "| wall/example |\n|---|---|---|---|---|---|---|---|\n");
    bool good = true;
    for (std::size_t i = 0; i < o.disks.size(); ++i) {
        std::vector<result> const& rows = results[i];
        std::vector<double> const cpus = column(rows, cpu);
        bool wrong = int(rows.size()) < o.rounds;
        bool unchecked = false;
        bool clean = true;
        for (result const& r : rows) {
            wrong |= r.checked == bytes::wrong;
            unchecked |= r.checked == bytes::unchecked;
            clean &= r.clean;
        }
        good &= !wrong && clean;
        char const* const verdict = int(rows.size()) < o.rounds ? "FAILED"
            : wrong                                             ? "WRONG"
            : !clean                                            ? "NOT CLEAN"
            : unchecked                                         ? "-"
                                                                : "right";
        if (rows.empty()) {
            std::printf("| %s | | | | | %s | | |\n", o.disks[i].c_str(), verdict);
            continue;
        }
        auto const ends = std::minmax_element(cpus.begin(), cpus.end());
        double const c = median(cpus);
        double const w = median(column(rows, wall));
        std::printf("| %s | %.2f | %.2f to %.2f | %.2f | %.0f | %s |", o.disks[i].c_str(), c,
            *ends.first, *ends.second, w, median(column(rows, peak)), verdict);
        if (base_cpu > 0)
            std::printf(" %.2f | %.2f |\n", c / base_cpu, w / base_wall);
        else
            std::printf(" | |\n");
    }
    return good;
}

int run(options const& o)
{
    test::film const film(o.size, 1, o.files);
    std::shared_ptr<lt::torrent_info> const torrent = test::make_torrent(film, o.piece, o.kind);

    child const seeders([&](int out) {
        std::vector<std::unique_ptr<test::seeder>> all;
        for (int i = 0; i < o.seeders; ++i) {
            all.push_back(std::make_unique<test::seeder>(film, torrent));
            child::send(out, all.back()->port());
        }
        for (;;) ::pause(); // until killed
    });
    std::vector<int> ports(std::size_t(o.seeders));
    for (int& port : ports)
        if (!seeders.receive(port)) throw std::runtime_error("a seeder did not start");

    std::vector<std::vector<result>> results(o.disks.size());
    for (int round = 0; round < o.rounds; ++round) {
        for (std::size_t i = 0; i < o.disks.size(); ++i) {
            disk const d = find_disk(o.disks[i], o.budget);
            child const leecher(
                [&](int out) { child::send(out, download(d, torrent, film, ports, o)); });
            result r;
            if (!leecher.receive(r)) continue; // it said why
            results[i].push_back(r);
            if (o.verbose)
                std::fprintf(stderr, "%d %s: CPU %.2f s, wall %.2f s\n", round, d.name.c_str(),
                    r.cpu, r.wall);
        }
    }
    return print(results, o) ? 0 : 1;
}

} // namespace
} // namespace bench

int main(int argc, char** argv)
{
    try {
        return bench::run(bench::parse(argc, argv));
    } catch (std::invalid_argument const& e) {
        std::fprintf(stderr, "%s\n%s", e.what(), bench::usage_text);
        return 2;
    } catch (std::exception const& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 1;
    }
}
