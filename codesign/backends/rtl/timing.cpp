/* The max-plus recurrence of docs/guide/microarchitecture.md over compressed events; see network.py and timing.py for the terms.

   Every actor is run as far as it can, then its neighbours, until all have finished their frames or none can move.
   The order does not matter: the start of an event depends on the starts of other events only. */

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
    int64_t token_wait;        // cycles of the last frame in which only this link's tokens held up the sink
    int64_t room_wait;         // the same of this link's room and the source
    int64_t occupancy;         // largest number of tokens started and not given back
};

struct Actor {
    int64_t events, steps;     // per frame
    int64_t last;              // step of the last event
    int64_t take;              // event that waits for the frame at the design's input; -1: none
    const int64_t *gap;        // per event: steps since the event before it; of the first: since the last of the frame before
    const int32_t *ins, *outs;   // links, n_in and n_out of them
    int64_t n_in, n_out;
    int64_t *ends;             // per frame: cycle of the last event
    int64_t event, frame, now; // the event to come, and the cycle of the one before it
    int64_t input_wait;        // cycles of the last frame in which only the input held it up
    int64_t input_bound;       // last frame that the input held up; -1: none
};

// Runs one actor; returns the number of events it made. origin: the cycle of the first take, -1 before it.
static int64_t advance(Actor *a, Link *links, int64_t frames, int64_t period, int64_t *origin, int64_t *starts)
{
    int64_t done = 0;
    while (a->frame < frames) {
        const int64_t e = a->event, ready = a->now + a->gap[e];
        int64_t t = ready, *wait = nullptr;
        bool input = false;
        for (int64_t i = 0; i < a->n_in; i++) {
            Link *l = &links[a->ins[i]];
            if (!l->need[e]) continue;
            const int64_t k = a->frame * l->tokens + l->need[e] - 1;
            if (k >= l->started) return done;
            const int64_t visible = l->started_at[k] + l->latency + 1;
            if (visible > t) { t = visible; wait = &l->token_wait; }
        }
        if (e == a->take && *origin >= 0 && *origin + a->frame * period > t) {
            t = *origin + a->frame * period;
            wait = &a->input_wait;
            input = true;
        }
        for (int64_t i = 0; i < a->n_out; i++) {
            Link *l = &links[a->outs[i]];
            if (!l->made[e] || l->started < l->depth) continue;
            const int64_t k = l->started - l->depth;
            if (k >= l->returned) return done;
            const int64_t usable = l->returned_at[k] + 1;
            if (usable > t) { t = usable; wait = &l->room_wait; input = false; }
        }
        if (input) a->input_bound = a->frame;
        if (wait && a->frame == frames - 1) *wait += t - ready;

        for (int64_t i = 0; i < a->n_in; i++) {
            Link *l = &links[a->ins[i]];
            for (int32_t n = l->freed[e]; n > 0; n--) l->returned_at[l->returned++] = t;
        }
        for (int64_t i = 0; i < a->n_out; i++) {
            Link *l = &links[a->outs[i]];
            if (!l->made[e]) continue;
            l->started_at[l->started++] = t;
            if (l->sink < 0) l->returned_at[l->returned++] = t + l->latency + 1;
        }
        if (e == a->take) {
            if (*origin < 0) *origin = t;
            starts[a->frame] = t;
        }
        a->now = t;
        if (++a->event == a->events) {
            a->ends[a->frame++] = t;
            a->event = 0;
        }
        done++;
    }
    return done;
}

static void measure_occupancy(Link *l)
{
    int64_t back = 0, most = 0;
    for (int64_t k = 0; k < l->started; k++) {
        while (back < l->returned && l->returned_at[back] < l->started_at[k]) back++;
        if (k + 1 - back > most) most = k + 1 - back;
    }
    l->occupancy = most;
}

/* Runs `frames` frames, frame f available at the input `period` * f cycles after the first take.
   starts: per frame, the cycle of its first take. queue: room for n_actors + 1; queued: n_actors zeros.
   Returns the cycle of the first take, or -1 on a deadlock. */
extern "C" int64_t simulate_network(Actor *actors, int64_t n_actors, Link *links, int64_t n_links, int64_t frames,
                                    int64_t period, int64_t *starts, int64_t *queue, uint8_t *queued)
{
    int64_t head = 0, tail = 0, origin = -1, finished = 0;
    const auto enqueue = [&](int64_t a) {
        if (a < 0 || queued[a]) return;
        queued[a] = 1;
        queue[tail] = a;
        tail = tail == n_actors ? 0 : tail + 1;
    };
    for (int64_t a = 0; a < n_actors; a++) {
        actors[a].now = actors[a].last - actors[a].steps; // so that the first step may be made in cycle 0
        enqueue(a);
    }
    while (head != tail) {
        Actor *a = &actors[queue[head]];
        queued[queue[head]] = 0;
        head = head == n_actors ? 0 : head + 1;
        if (!advance(a, links, frames, period, &origin, starts)) continue;
        if (a->frame == frames) finished++;
        for (int64_t i = 0; i < a->n_out; i++) enqueue(links[a->outs[i]].sink);
        for (int64_t i = 0; i < a->n_in; i++) enqueue(links[a->ins[i]].source);
    }
    for (int64_t l = 0; l < n_links; l++) measure_occupancy(&links[l]);
    return finished == n_actors ? origin : -1;
}
