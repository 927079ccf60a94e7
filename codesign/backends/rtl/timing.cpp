/* The max-plus recurrence of docs/guide/microarchitecture.md over compressed events; see network.py and timing.py for the
   terms.

   Every actor is run until it must wait for an actor that has not got that far, and again when that one has; none starts
   a frame before all have got as far as they can in those before it. The order does not matter for the result, the cycle
   of an event depends on the cycles of other events only, but a late frame is then seen early, and what one actor has
   written is in the cache when another reads it. */

#include <cstdint>

struct Link {
    int64_t source, sink;      // actors; sink -1: the output, which takes a token in the cycle in which it is visible
    int64_t depth, latency;
    int64_t tokens;            // per frame
    const uint8_t *made;       // per event of the source: starts a token
    const int32_t *need;       // per event of the sink: tokens of this frame to wait for; 0: none that are new
    const int32_t *freed;      // per event of the sink: tokens given back
    int64_t *started_at;       // cycle in which token k is started; visible latency + 1 later
    int64_t *returned_at;      // cycle in which token k is given back; its room is usable 1 later
    int64_t started, returned; // tokens so far
    int64_t token_wait;        // cycles of the last frame in which the sink was held up by this link's tokens
    int64_t room_wait;         // cycles of the last frame in which the source was held up by its room
    int64_t occupancy;         // largest number of tokens started and not given back
};

struct Actor {
    int64_t events, steps;     // per frame
    int64_t last;              // step of the last event
    int64_t take;              // event that waits for the frame at the design's input; -1: none
    const int64_t *gap;        // per event: steps since the event before it; of the first: since the last of the frame before
    const int32_t *ins, *outs; // links, n_in and n_out of them
    int64_t n_in, n_out;
    int64_t *ends;             // per frame: cycle of the last event
    int64_t event, frame, now; // the event to come, and the cycle of the one before it
    int64_t input_wait;        // cycles of the last frame in which it was held up by the input
    const int64_t *blocked;    // the counter (a link's started or returned) that must pass `until`; null: it may run
    int64_t until;
};

struct Run {
    Link *links;
    int64_t period;
    int64_t horizon;       // frames that may be worked on now
    int64_t frames;
    const int64_t *latest; // per frame: cycle after the first take in which its last output beat must be there, or null
    int64_t *starts;       // per frame: cycle of its first take
    int64_t origin;        // cycle of the first take; -1 before it
    bool late;             // a frame missed `latest`
};

// Runs one actor until it is blocked or has finished the frames up to the horizon. The local copies are for speed: the
// compiler must assume that a store of a cycle changes any number behind a pointer.
static void advance(Actor &a, Run &run)
{
    const int64_t *const gap = a.gap;
    const int32_t *const ins = a.ins, *const outs = a.outs;
    const int64_t n_in = a.n_in, n_out = a.n_out, events = a.events, take = a.take, frames = run.frames;
    Link *const links = run.links;
    int64_t e = a.event, frame = a.frame, now = a.now;
    while (frame < run.horizon) {
        const int64_t ready = now + gap[e];
        int64_t t = ready, *wait = nullptr;
        for (int64_t i = 0; i < n_in; i++) {
            Link &l = links[ins[i]];
            const int64_t need = l.need[e];
            if (!need) continue;
            const int64_t k = frame * l.tokens + need - 1;
            if (k >= l.started) { a.blocked = &l.started; a.until = k; goto blocked; }
            const int64_t visible = l.started_at[k] + l.latency + 1;
            if (visible > t) { t = visible; wait = &l.token_wait; }
        }
        if (e == take && run.origin >= 0 && run.origin + frame * run.period > t) {
            t = run.origin + frame * run.period;
            wait = &a.input_wait;
        }
        for (int64_t i = 0; i < n_out; i++) {
            Link &l = links[outs[i]];
            if (!l.made[e]) continue;
            const int64_t k = l.started - l.depth;
            if (k < 0) continue;
            if (k >= l.returned) { a.blocked = &l.returned; a.until = k; goto blocked; }
            const int64_t usable = l.returned_at[k] + 1;
            if (usable > t) { t = usable; wait = &l.room_wait; }
        }
        if (e == take) {
            if (run.origin < 0) run.origin = t;
            run.starts[frame] = t;
        }
        if (wait && frame == frames - 1) *wait += t - ready;

        for (int64_t i = 0; i < n_in; i++) {
            Link &l = links[ins[i]];
            int64_t n = l.freed[e];
            if (!n) continue;
            int64_t *at = l.returned_at + l.returned;
            l.returned += n;
            for (; n > 0; n--) *at++ = t;
        }
        for (int64_t i = 0; i < n_out; i++) {
            Link &l = links[outs[i]];
            if (!l.made[e]) continue;
            l.started_at[l.started++] = t;
            if (l.sink >= 0) continue;
            l.returned_at[l.returned++] = t + l.latency + 1;
            if (run.latest && run.origin >= 0 && l.started == (frame + 1) * l.tokens)
                run.late |= t + l.latency + 1 - run.origin > run.latest[frame];
        }
        now = t;
        if (++e == events) {
            a.ends[frame++] = t;
            e = 0;
        }
    }
blocked:
    a.event = e;
    a.frame = frame;
    a.now = now;
}

static void measure_occupancy(Link &l)
{
    int64_t back = 0, most = 0;
    for (int64_t k = 0; k < l.started; k++) {
        while (back < l.returned && l.returned_at[back] < l.started_at[k]) back++;
        if (k + 1 - back > most) most = k + 1 - back;
    }
    l.occupancy = most;
}

/* Runs `frames` frames, frame f available at the input `period` * f cycles after the first take.
   starts: per frame, the cycle of its first take. queue: room for n_actors + 1. latest: see Run; the run ends at the
   first frame that misses it. Returns the cycle of the first take, -1 on a deadlock, -2 for a missed frame. */
extern "C" int64_t simulate_network(Actor *actors, int64_t n_actors, Link *links, int64_t n_links, int64_t frames,
                                    int64_t period, const int64_t *latest, int64_t *starts, int64_t *queue)
{
    Run run = {links, period, 0, frames, latest, starts, -1, false};
    int64_t head = 0, tail = 0;
    for (int64_t a = 0; a < n_actors; a++)
        actors[a].now = actors[a].last - actors[a].steps; // so that the first step may be made in cycle 0
    const auto push = [&](int64_t a) {
        queue[tail] = a;
        tail = tail == n_actors ? 0 : tail + 1;
    };
    const auto wake = [&](int64_t a, const int64_t *counter) {
        if (a < 0 || actors[a].blocked != counter || *counter <= actors[a].until) return;
        actors[a].blocked = nullptr;
        push(a);
    };
    while (run.horizon < frames && !run.late) {
        run.horizon++;
        for (int64_t a = 0; a < n_actors; a++)
            if (!actors[a].blocked) push(a);
        while (head != tail && !run.late) {
            Actor &a = actors[queue[head]];
            head = head == n_actors ? 0 : head + 1;
            advance(a, run);
            for (int64_t i = 0; i < a.n_out; i++) wake(links[a.outs[i]].sink, &links[a.outs[i]].started);
            for (int64_t i = 0; i < a.n_in; i++) wake(links[a.ins[i]].source, &links[a.ins[i]].returned);
        }
    }
    if (run.late) return -2;
    for (int64_t l = 0; l < n_links; l++) measure_occupancy(links[l]);
    for (int64_t a = 0; a < n_actors; a++)
        if (actors[a].frame < frames) return -1;
    return run.origin;
}
