# Synthesis, place and route of the RTL that C synthesis wrote, out of context: what the network alone takes.
# vivado -mode batch -source implement.tcl        in the project's folder, after C synthesis
# Writes utilisation.rpt and timing.rpt, which `codesign report --vendor` reads.
set folder [file dirname [file normalize [info script]]]
source [file join $folder project.tcl]
set rtl [file join $folder ${project_name}_prj solution1 syn verilog]
if {![file isdirectory $rtl]} {
    puts stderr "implement.tcl: there is no $rtl; run C synthesis first"
    exit 1
}
set top $project_name
if {[file exists [file join $rtl ${project_name}_axi.v]]} {
    set top ${project_name}_axi ;# hls4ml's AXI wrapper around the network, where the flow has one
}
create_project -in_memory -part $part
read_verilog [glob -directory $rtl *.v]
foreach memory [glob -nocomplain -directory $rtl *.dat] {
    file copy -force $memory [pwd]
}
foreach script [glob -nocomplain -directory $rtl *.tcl] {
    source $script
}
read_xdc -mode out_of_context [file join $folder constraints.xdc]
synth_design -top $top -part $part -mode out_of_context
opt_design
place_design
phys_opt_design
route_design
report_utilization -file [file join $folder utilisation.rpt]
report_timing_summary -max_paths 1 -file [file join $folder timing.rpt]
