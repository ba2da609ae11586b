mkdir -p "$UV_INSTALL_DIR" && ln -sf @ROOT@/etc/uv "$UV_INSTALL_DIR/uv"
