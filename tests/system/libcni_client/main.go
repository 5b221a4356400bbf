// One libcni call: libcni_client ADD|CHECK|DEL|VERSION|CACHED < request. The request is what a runtime would pass on.
//
// Success: exit 0, the result (ADD, CACHED) on stdout. Failure: exit 1, {"code", "msg", "details"} on stdout.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/types"
)

type request struct {
	Conflist     json.RawMessage        `json:"conflist"`
	Path         []string               `json:"path"`
	Cache        string                 `json:"cache"`
	ContainerID  string                 `json:"containerID"`
	NetNS        string                 `json:"netns"`
	IfName       string                 `json:"ifname"`
	Args         [][2]string            `json:"args"`
	Capabilities map[string]interface{} `json:"capabilities"`
}

func call(verb string, r request) (interface{}, error) {
	list, err := libcni.ConfListFromBytes(r.Conflist)
	if err != nil {
		return nil, err
	}
	cni := libcni.NewCNIConfigWithCacheDir(r.Path, r.Cache, nil)
	container := &libcni.RuntimeConf{
		ContainerID: r.ContainerID, NetNS: r.NetNS, IfName: r.IfName, Args: r.Args, CapabilityArgs: r.Capabilities,
	}
	switch verb {
	case "ADD":
		return cni.AddNetworkList(context.TODO(), list, container)
	case "CHECK":
		return nil, cni.CheckNetworkList(context.TODO(), list, container)
	case "DEL":
		return nil, cni.DelNetworkList(context.TODO(), list, container)
	case "VERSION":
		_, err := cni.ValidateNetworkList(context.TODO(), list)
		return nil, err
	case "CACHED":
		return cni.GetNetworkListCachedResult(list, container)
	}
	return nil, fmt.Errorf("unknown verb %s", verb)
}

func main() {
	var r request
	err := json.NewDecoder(os.Stdin).Decode(&r)
	var result interface{}
	if err == nil {
		result, err = call(os.Args[1], r)
	}
	if err != nil {
		var known *types.Error
		if !errors.As(err, &known) {
			known = &types.Error{Msg: err.Error()}
		}
		json.NewEncoder(os.Stdout).Encode(known)
		os.Exit(1)
	}
	if result != nil {
		json.NewEncoder(os.Stdout).Encode(result)
	}
}
