// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What this contract needs of the token that it pays with.
interface IToken {
    function transfer(address to, uint256 amount) external returns (bool);
}

/// Pays out what parties withdrew on a Stratos ledger.
///
/// For an epoch of the ledger the poster posts the root of a Merkle tree over
/// (account, cumulative amount). After the delay it holds, unless the guardian
/// vetoed it. Whoever proves a leaf of the root that holds has the account paid
/// what it was not paid before.
///
/// What it trusts: it cannot see the ledger. A root that the poster made up and
/// that the guardian let pass empties the contract. A guardian alone can stop
/// payments and take nothing.
contract StratosClaims {
    struct Root {
        bytes32 hash;
        uint64 epoch;
        /// When it begins to hold, in seconds.
        uint64 readyAt;
    }

    IToken public immutable token;
    /// The only one who may post.
    address public immutable poster;
    /// The only one who may veto.
    address public immutable guardian;
    /// How long a posted root waits, in seconds.
    uint64 public immutable delay;

    /// The contract that this one takes over from, or nobody.
    StratosClaims public immutable previous;

    /// What each account was paid here.
    mapping(address account => uint256) public claimed;

    Root private held;
    Root private pending;

    event Posted(uint64 indexed epoch, bytes32 root, uint64 readyAt);
    event Vetoed(uint64 indexed epoch, bytes32 root);
    event Claimed(address indexed account, uint256 amount, uint256 cumulative);

    error ZeroAddress();
    error NoToken();
    error BadDelay();
    error NoPrevious();
    error ZeroRoot();
    error NotPoster();
    error NotGuardian();
    error EpochNotAfter(uint64 epoch);
    error StillPending(uint64 epoch, uint64 readyAt);
    error NotPending(uint64 epoch);
    error NoRoot();
    error BadProof();
    error NothingDue();
    error TransferFailed();

    constructor(IToken token_, address poster_, address guardian_, uint64 delay_, StratosClaims previous_) {
        if (poster_ == address(0) || guardian_ == address(0)) revert ZeroAddress();
        if (address(token_).code.length == 0) revert NoToken();
        // Without a delay nobody could veto; with a huge one nothing would ever hold.
        if (delay_ == 0 || delay_ > 365 days) revert BadDelay();
        if (address(previous_) != address(0) && address(previous_).code.length == 0) revert NoPrevious();
        token = token_;
        poster = poster_;
        guardian = guardian_;
        delay = delay_;
        previous = previous_;
    }

    /// Posts the root of an epoch later than that of the root that holds. One
    /// at a time: a root that waits must come to hold or be vetoed first, or
    /// posting often would keep the guardian's watch from ever ending.
    function post(bytes32 root, uint64 epoch) external {
        if (msg.sender != poster) revert NotPoster();
        if (root == 0) revert ZeroRoot();
        if (pending.hash != 0) {
            if (block.timestamp < pending.readyAt) revert StillPending(pending.epoch, pending.readyAt);
            held = pending;
        }
        if (held.hash != 0 && epoch <= held.epoch) revert EpochNotAfter(held.epoch);
        uint64 readyAt = uint64(block.timestamp) + delay;
        pending = Root(root, epoch, readyAt);
        emit Posted(epoch, root, readyAt);
    }

    /// Takes back a root that does not hold yet. Its epoch may be posted again.
    function veto(uint64 epoch) external {
        if (msg.sender != guardian) revert NotGuardian();
        Root memory root = pending;
        if (root.hash == 0 || root.epoch != epoch || block.timestamp >= root.readyAt) revert NotPending(epoch);
        delete pending;
        emit Vetoed(epoch, root.hash);
    }

    /// Pays `account` what `cumulative` exceeds what it was paid before. Anyone
    /// may ask for it; only the account is paid.
    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external {
        (bytes32 root,) = current();
        if (root == 0) revert NoRoot();
        if (!isIn(root, leaf(account, cumulative), proof)) revert BadProof();
        uint256 before = paid(account);
        if (cumulative <= before) revert NothingDue();
        uint256 due = cumulative - before;
        // Before any other code runs, or a token that calls back could claim twice.
        claimed[account] = cumulative;
        emit Claimed(account, due, cumulative);
        pay(account, due);
    }

    /// What `account` was paid, all in all. Amounts are cumulative, so what an
    /// earlier contract paid is a part of what is paid here, once that is more.
    function paid(address account) public view returns (uint256) {
        uint256 here = claimed[account];
        if (address(previous) == address(0)) return here;
        uint256 before = previous.paid(account);
        return here > before ? here : before;
    }

    /// The root that holds and its epoch; zeros when none does.
    function current() public view returns (bytes32 root, uint64 epoch) {
        Root memory root_ = pending.hash != 0 && block.timestamp >= pending.readyAt ? pending : held;
        return (root_.hash, root_.epoch);
    }

    /// The root that waits, its epoch and when it begins to hold; zeros when none does.
    function waiting() external view returns (bytes32 root, uint64 epoch, uint64 readyAt) {
        Root memory root_ = pending;
        if (root_.hash == 0 || block.timestamp >= root_.readyAt) return (0, 0, 0);
        return (root_.hash, root_.epoch, root_.readyAt);
    }

    /// Hashed twice, so that no inner node can be shown as a leaf.
    function leaf(address account, uint256 cumulative) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account, cumulative))));
    }

    /// Whether the proof leads from the leaf up to the root. Of each pair the
    /// smaller hash comes first, so a proof needs no left and right.
    function isIn(bytes32 root, bytes32 node, bytes32[] calldata proof) private pure returns (bool) {
        for (uint256 i = 0; i < proof.length; ++i) {
            bytes32 other = proof[i];
            node = node < other ? keccak256(abi.encode(node, other)) : keccak256(abi.encode(other, node));
        }
        return node == root;
    }

    /// Some tokens answer nothing when a transfer went well.
    function pay(address to, uint256 amount) private {
        (bool done, bytes memory answer) = address(token).call(abi.encodeCall(IToken.transfer, (to, amount)));
        if (!done || (answer.length != 0 && !abi.decode(answer, (bool)))) revert TransferFailed();
    }
}
