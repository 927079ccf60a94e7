// A checker and counter for one stream; simulation only, bound to every stream of a design.
//
// Contract      a stream in which valid && !ready holds in one cycle has valid, and the same data, in the next one.
//               The first cycle that breaks it stops the simulation with the stream's name.
// Counters      beats: valid && ready; blocked: valid && !ready; starved: ready && !valid. In cycles, outside of reset.
// Report        every `final` hands the counters to the test bench, which may ask for them at any time.
// Cost          data is copied in blocked cycles only, so a stream at full rate costs its three counters.
module cs_stream_monitor #(
  parameter string       Name  = "stream",
  parameter int unsigned Width = 8
) (
  input logic             clk_i,
  input logic             rst_ni,
  input logic             valid_i,
  input logic             ready_i,
  input logic [Width-1:0] data_i
);

  import "DPI-C" function void cs_stream_report(
    input string  name,
    input longint beats,
    input longint blocked,
    input longint starved,
    input bit     valid,
    input bit     ready
  );

  longint beats_q, blocked_q, starved_q;
  logic             waiting_q;  // the last cycle was blocked: this beat must still be there
  logic [Width-1:0] data_q;

  always_ff @(posedge clk_i) begin
    waiting_q <= 1'b0;
    if (!rst_ni) begin
      beats_q <= 0;
      blocked_q <= 0;
      starved_q <= 0;
    end else begin
      if (waiting_q && !valid_i) $error("stream %s: valid was withdrawn before ready came", Name);
      if (waiting_q && valid_i && data_i != data_q) $error("stream %s: data changed before it was taken", Name);
      if (valid_i && ready_i) beats_q <= beats_q + 1;
      if (ready_i && !valid_i) starved_q <= starved_q + 1;
      if (valid_i && !ready_i) begin
        blocked_q <= blocked_q + 1;
        waiting_q <= 1'b1;
        data_q <= data_i;
      end
    end
  end

  final cs_stream_report(Name, beats_q, blocked_q, starved_q, valid_i, ready_i);

endmodule
