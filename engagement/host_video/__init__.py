"""The demo's hosts: a drawn picture with a clock burned in, published as any host would."""
