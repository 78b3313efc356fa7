// Slices that are kept and slices that are dropped, with Go's own ledger of the kept ones.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
)

var keep [][]byte

func main() {
	operations, _ := strconv.Atoi(os.Args[1])
	live := 0
	for i := 0; i < operations/1000; i++ {
		keep = append(keep, make([]byte, 1024))
		live += 1024
		_ = make([]byte, 512+i%7)
	}
	runtime.GC()
	fmt.Println("live", live)
}
