// The test bench of every design: drives the AXI4-Stream ports of `Vtop` from a file, in cycles, and says what it saw.
//
//   sim in=FILE out=FILE stamps=FILE frames=N in_beats=N out_beats=N [seed=N] [stall=P] [idle_limit=N]
//       [cycle_limit=N] [trace=FILE from=CYCLE to=CYCLE]
//
// Files: `in` and `out` hold beats of IN_BYTES and OUT_BYTES (tdata, least significant byte first), frame after frame;
// `stamps` holds 64-bit numbers, for every frame the cycle of its first input beat, then for every frame the cycle of
// its last output beat (all ones: not reached). IN_BYTES and OUT_BYTES are given to the compiler.
// Cycle 0 is the first one after reset. Cycle c spans the times 10 c to 10 c + 9, its rising edge is at 10 c + 5.
// Prints `progress FRAMES CYCLE` while it runs, then `stream …` lines, and last `result STATUS …`.
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#ifdef CS_TRACE
#include "verilated_fst_c.h"
#endif

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "beats are copied to and from ports byte by byte");

namespace {

constexpr uint64_t kNever = ~uint64_t{0};
constexpr int kResetCycles = 4;
constexpr uint64_t kPeriod = 10;
constexpr uint64_t kProgressMask = (1 << 14) - 1;  // the clock is read once in so many cycles

struct Stream {
  std::string name;
  int64_t beats, blocked, starved;
  bool valid, ready;
};
std::vector<Stream> streams;  // filled by the monitors' final blocks

class Options {
 public:
  Options(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      const size_t equals = word.find('=');
      if (equals == std::string::npos) fail("not key=value", word);
      values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  std::string text(const std::string& key) const {
    const auto found = values_.find(key);
    if (found == values_.end()) fail("missing option", key);
    return found->second;
  }
  uint64_t number(const std::string& key) const { return std::strtoull(text(key).c_str(), nullptr, 10); }
  uint64_t number(const std::string& key, uint64_t otherwise) const { return has(key) ? number(key) : otherwise; }
  bool has(const std::string& key) const { return values_.count(key) != 0; }
  [[noreturn]] static void fail(const char* what, const std::string& which) {
    std::printf("sim: %s: %s\n", what, which.c_str());
    std::exit(2);
  }

 private:
  std::map<std::string, std::string> values_;
};

std::vector<uint8_t> read_file(const std::string& name, size_t size) {
  std::vector<uint8_t> data(size);
  FILE* const file = std::fopen(name.c_str(), "rb");
  if (!file || std::fread(data.data(), 1, size, file) != size) Options::fail("cannot read", name);
  std::fclose(file);
  return data;
}

void write_file(const std::string& name, const void* data, size_t size) {
  FILE* const file = std::fopen(name.c_str(), "wb");
  if (!file || std::fwrite(data, 1, size, file) != size || std::fclose(file)) Options::fail("cannot write", name);
}

// True with probability p: xorshift64*, one draw per question, so a run depends on nothing but its seed.
class Coin {
 public:
  Coin(uint64_t seed, double p) : state_{seed * 0x9E3779B97F4A7C15u | 1u}, limit_{uint64_t(p * 4294967296.0)} {}
  bool operator()() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return ((state_ * 0x2545F4914F6CDD1Du) >> 32) < limit_;
  }

 private:
  uint64_t state_, limit_;
};

int64_t count_beats(Vtop& top) {
  streams.clear();
  top.final();
  int64_t total = 0;
  for (const Stream& s : streams) total += s.beats;
  return total;
}

}  // namespace

extern "C" void cs_stream_report(const char* name, long long beats, long long blocked, long long starved,
                                 unsigned char valid, unsigned char ready) {
  streams.push_back({name, beats, blocked, starved, valid != 0, ready != 0});
}

int main(int argc, char** argv) {
  const Options options{argc, argv};
  const uint64_t frames = options.number("frames");
  const uint64_t in_beats = options.number("in_beats"), in_total = frames * in_beats;
  const uint64_t out_beats = options.number("out_beats"), out_total = frames * out_beats;
  const uint64_t idle_limit = options.number("idle_limit", kNever);
  const uint64_t cycle_limit = options.number("cycle_limit", kNever);
  const double stall = options.has("stall") ? std::atof(options.text("stall").c_str()) : 0.0;
  const bool stalls = stall > 0.0;
  Coin source_stalls{2 * options.number("seed", 1), stall}, sink_stalls{2 * options.number("seed", 1) + 1, stall};

  const std::vector<uint8_t> input = read_file(options.text("in"), in_total * IN_BYTES);
  std::vector<uint8_t> output(out_total * OUT_BYTES);
  std::vector<uint64_t> stamps(2 * frames, kNever);

  VerilatedContext context;
  context.randReset(2);  // registers without a reset start with random values, of this seed
  context.randSeed(int(options.number("seed", 1) % 0x7FFFFFFF + 1));
  context.fatalOnError(false);  // a failed assertion ends the loop below, and the counters are still reported
#ifdef CS_TRACE
  context.traceEverOn(true);
#endif
  const auto owner = std::make_unique<Vtop>(&context);
  Vtop& top = *owner;
#ifdef CS_TRACE
  VerilatedFstC trace;
  const bool tracing = options.has("trace");
  const uint64_t trace_from = options.number("from", 0), trace_to = options.number("to", kNever);
  if (tracing) {
    top.trace(&trace, 99);
    trace.open(options.text("trace").c_str());
    if (!trace.isOpen()) Options::fail("cannot write", options.text("trace"));
  }
#define CS_DUMP(time) \
  if (tracing && cycle >= trace_from && cycle <= trace_to) trace.dump(time)
#else
#define CS_DUMP(time)
#endif

  top.aresetn = 0;
  top.s_axis_tvalid = 0;
  top.m_axis_tready = 0;
  for (int i = 0; i < kResetCycles; ++i) {
    top.aclk = 0;
    top.eval();
    top.aclk = 1;
    top.eval();
  }
  top.aresetn = 1;

  const char* status = "done";
  uint64_t cycle = 0, sent = 0, received = 0, frames_in = 0, frames_out = 0, last_active = 0;
  uint64_t beat_in = 0, beat_out = 0;  // within the frame
  uint64_t quiet_since = 0;            // the cycle after the last handshake, or after the last progress within
  int64_t beats_seen = -1;
  const uint8_t* next_in = input.data();
  uint8_t* next_out = output.data();
  bool offered = false, loaded = false;

  using Clock = std::chrono::steady_clock;
  const auto started = Clock::now();
  auto reported = started;
  for (; received < out_total; ++cycle) {
    if (cycle >= cycle_limit) {
      status = "limit";
      break;
    }
    // Inputs change while the clock is low. A beat that was offered stays until it is taken; ready may come and go.
    if (!offered) offered = sent < in_total && !(stalls && source_stalls());
    if (offered && !loaded) {
      std::memcpy(&top.s_axis_tdata, next_in, IN_BYTES);
      loaded = true;
    }
    top.s_axis_tvalid = offered;
    top.m_axis_tready = !(stalls && sink_stalls());
    top.aclk = 0;
    top.eval();
    CS_DUMP(kPeriod * cycle);

    // Both handshakes are decided by what the ports show just before the rising edge.
    const bool take_in = offered && top.s_axis_tready;
    const bool take_out = top.m_axis_tvalid && top.m_axis_tready;
    if (take_in) {
      if (beat_in == 0) {
        stamps[frames_in] = cycle;
      }
      if (++beat_in == in_beats) {
        beat_in = 0;
        ++frames_in;
      }
      next_in += IN_BYTES;
      ++sent;
      offered = loaded = false;
    }
    if (take_out) {
      std::memcpy(next_out, &top.m_axis_tdata, OUT_BYTES);
      next_out += OUT_BYTES;
      ++received;
      const bool last = ++beat_out == out_beats;
      if (last != bool(top.m_axis_tlast)) {
        std::printf("tlast frame %" PRIu64 " beat %" PRIu64 "\n", frames_out, beat_out - 1);
        status = "tlast";
        break;
      }
      if (last) {
        beat_out = 0;
        stamps[frames + frames_out++] = cycle;
      }
    }

    context.time(kPeriod * cycle + kPeriod / 2);
    top.aclk = 1;
    top.eval();
    CS_DUMP(kPeriod * cycle + kPeriod / 2);

    if (VL_UNLIKELY(context.gotFinish())) {
      status = context.gotError() ? "assertion" : "finish";
      break;
    }
    if (take_in || take_out) {
      last_active = cycle;
      quiet_since = cycle + 1;
    } else if (VL_UNLIKELY(cycle - quiet_since >= idle_limit)) {
      // Quiet outside; it is a deadlock only if no beat moved between two such looks at the streams within.
      const int64_t beats = count_beats(top);
      if (beats == beats_seen || streams.empty()) {
        status = "deadlock";
        break;
      }
      beats_seen = beats;
      quiet_since = cycle + 1;
    }
    if (VL_UNLIKELY((cycle & kProgressMask) == 0)) {
      const auto now = Clock::now();
      if (now - reported > std::chrono::milliseconds(200)) {
        reported = now;
        std::printf("progress %" PRIu64 " %" PRIu64 "\n", frames_out, cycle);
        std::fflush(stdout);
      }
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - started).count();

#ifdef CS_TRACE
  if (tracing) trace.close();
#endif
  count_beats(top);
  for (const Stream& s : streams) {
    std::printf("stream %s %" PRId64 " %" PRId64 " %" PRId64 " %d %d\n", s.name.c_str(), s.beats, s.blocked, s.starved,
                s.valid, s.ready);
  }
  write_file(options.text("out"), output.data(), output.size());
  write_file(options.text("stamps"), stamps.data(), stamps.size() * sizeof(uint64_t));
  std::printf("result %s cycles %" PRIu64 " active %" PRIu64 " seconds %.6f\n", status, cycle, last_active, seconds);
  return 0;
}
