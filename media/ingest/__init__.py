"""What ingests other than WebRTC have in common: who publishes, and the room's clock."""
