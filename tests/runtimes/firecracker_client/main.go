// Firecracker's SDK for Go, as far as it uses CNI: the network of a machine that never starts.
//
//	client VMID NETNS NETWORK
//
// It prints what the machine would get: tap device, MAC, address, gateway. When stdin ends it cleans up.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"

	firecracker "github.com/firecracker-microvm/firecracker-go-sdk"
)

var errEnd = errors.New("the machine ends")

func main() {
	path := []string{"/opt/cni/drop-in", "/run/others"}
	network := firecracker.CNIConfiguration{
		NetworkName: os.Args[3], IfName: "eth0", ConfDir: "/etc/cni/net.d", BinPath: path,
	}
	config := firecracker.Config{
		VMID: os.Args[1], NetNS: os.Args[2], SocketPath: "/run/" + os.Args[1] + ".sock", DisableValidation: true,
		NetworkInterfaces: firecracker.NetworkInterfaces{{CNIConfiguration: &network}},
	}
	machine, err := firecracker.NewMachine(context.Background(), config)
	if err == nil {
		shown := firecracker.Handler{Name: "show", Fn: show}
		machine.Handlers.FcInit = firecracker.HandlerList{}.Append(firecracker.SetupNetworkHandler, shown)
		err = machine.Start(context.Background())
	}
	if !errors.Is(err, errEnd) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func show(_ context.Context, machine *firecracker.Machine) error {
	found := machine.Cfg.NetworkInterfaces[0].StaticConfiguration
	address := found.IPConfiguration
	fmt.Println(found.HostDevName, found.MacAddress, address.IPAddr.String(), address.Gateway)
	bufio.NewReader(os.Stdin).ReadString('\n')
	return errEnd
}
